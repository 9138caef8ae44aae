import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { Client as V1Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport as V1Transport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { onTestFinished } from 'vitest';
import { token } from './server.js';

/** SDK v1; SDK v2 in the 2025-11-25 era; SDK v2 that negotiates, which is 2026-07-28 with us. */
export const CLIENT_KINDS = ['v1', 'legacy', 'auto'] as const;
export type ClientKind = (typeof CLIENT_KINDS)[number];

/** An SDK client not yet connected. The v1 client has the same surface as far as the tests use it. */
export function newClient(kind: ClientKind): Client {
  return kind === 'v1'
    ? (new V1Client({ name: 'v1', version: '1' }, { capabilities: { elicitation: {} } }) as unknown as Client)
    : new Client({ name: 'v2', version: '1' }, { versionNegotiation: { mode: kind }, capabilities: { elicitation: { form: {} } } });
}

export interface HttpClientOptions {
  readonly headers?: Record<string, string>;
  readonly fetch?: typeof fetch;
}

/** A client connected over HTTP, closed when the test ends. Its default credentials are alice's token. */
export async function connectHttp(kind: ClientKind, url: URL, options: HttpClientOptions = {}): Promise<Client> {
  const client = newClient(kind);
  const transportOptions = {
    requestInit: { headers: options.headers ?? { authorization: `Bearer ${token()}` } },
    ...(options.fetch === undefined ? {} : { fetch: options.fetch as never }),
  };
  const transport = kind === 'v1' ? new V1Transport(url, transportOptions) : new StreamableHTTPClientTransport(url, transportOptions);
  await client.connect(transport as never);
  onTestFinished(() => client.close());
  return client;
}

/** The JSON in the only text block of a tool's result. */
export function jsonOf(result: unknown): unknown {
  return JSON.parse(((result as { content: { text: string }[] }).content[0] as { text: string }).text);
}
