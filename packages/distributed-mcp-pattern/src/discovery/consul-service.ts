import type { ServiceNode } from '@mcp-blocks/core';
import { z } from 'zod';
import { serviceNodeSchema } from './service-node-schema.js';

/** Longest value of a service's metadata, a limit of Consul's. */
const MAX_META_LENGTH = 512;

const entrySchema = z.object({
  Node: z.object({ Address: z.string().default(''), Datacenter: z.string().default('') }),
  Service: z.object({
    ID: z.string(),
    Address: z.string().default(''),
    Port: z.int(),
    Weights: z.object({ Passing: z.number() }).nullish(),
    Meta: z.record(z.string(), z.string()).nullish(),
  }),
});

/** A node as an agent's `/v1/agent/service/register` takes it. `owner` tells one registration from the next. */
export function writeService(service: string, node: ServiceNode, owner: string): Record<string, unknown> | Error {
  const url = new URL(node.url);
  const metadata = node.metadata === undefined ? undefined : JSON.stringify(node.metadata);
  const meta = {
    'mcp-id': node.id,
    'mcp-url': node.url,
    'mcp-owner': owner,
    ...(node.weight === undefined ? {} : { 'mcp-weight': String(node.weight) }),
    ...(node.region === undefined ? {} : { 'mcp-region': node.region }),
    ...(node.version === undefined ? {} : { 'mcp-version': node.version }),
    ...(metadata === undefined ? {} : { 'mcp-metadata': metadata }),
  };
  const long = Object.entries(meta).find(([, value]) => value.length > MAX_META_LENGTH);
  if (long !== undefined) return new Error(`${long[0].replace('mcp-', '')} is longer than the ${MAX_META_LENGTH} characters Consul keeps`);
  return {
    ID: serviceId(service, node.id),
    Name: service,
    // Without brackets, as Consul has IPv6 addresses.
    Address: url.hostname.replace(/^\[|\]$/g, ''),
    Port: Number(url.port) || (/^(https|wss):$/.test(url.protocol) ? 443 : 80),
    Meta: meta,
  };
}

/** The agent's id of an entry made by {@link writeService}: unique over services. */
export function serviceId(service: string, id: string): string {
  return `${service}:${id}`;
}

/** A node as `/v1/health/service` lists it, made here or by others. */
export function readService(entry: unknown, defaults: { readonly scheme: string; readonly path: string }): ServiceNode | Error {
  const parsed = entrySchema.safeParse(entry);
  if (!parsed.success) return new Error(`A Consul entry is not understood: ${parsed.error.issues[0]?.path.join('.')}`);
  const { Node, Service } = parsed.data;
  const meta = Service.Meta ?? {};
  const address = Service.Address || Node.Address;
  const host = address.includes(':') ? `[${address}]` : address;
  const weight = meta['mcp-weight'] === undefined ? Service.Weights?.Passing : Number(meta['mcp-weight']);
  const metadata = metadataOf(meta);
  if (metadata instanceof Error) return metadata;
  const node = serviceNodeSchema.safeParse({
    id: meta['mcp-id'] ?? Service.ID,
    url: meta['mcp-url'] ?? `${meta['mcp-scheme'] ?? defaults.scheme}://${host}:${Service.Port}${meta['mcp-path'] ?? defaults.path}`,
    // Consul's own default of 1 is ours too.
    ...(weight === undefined || weight === 1 ? {} : { weight }),
    ...(meta['mcp-region'] === undefined ? {} : { region: meta['mcp-region'] }),
    ...(meta['mcp-version'] === undefined ? {} : { version: meta['mcp-version'] }),
    ...(metadata === undefined ? {} : { metadata }),
  });
  const issue = node.error?.issues[0];
  if (issue !== undefined) return new Error(`The Consul entry '${Service.ID}' is not a node: ${issue.path.join('.')}: ${issue.message}`);
  return node.data as ServiceNode;
}

/** What was given as metadata; for an entry of others, all of Consul's metadata that is not ours. */
function metadataOf(meta: Readonly<Record<string, string>>): Readonly<Record<string, string>> | undefined | Error {
  const own = meta['mcp-metadata'];
  if (own !== undefined) {
    try {
      return z.record(z.string(), z.string()).parse(JSON.parse(own));
    } catch {
      return new Error(`The metadata of the Consul entry '${meta['mcp-id']}' is not an object of strings`);
    }
  }
  const others = Object.entries(meta).filter(([name]) => !name.startsWith('mcp-'));
  return others.length === 0 ? undefined : Object.fromEntries(others);
}
