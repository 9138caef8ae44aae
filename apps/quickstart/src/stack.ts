import { cp, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { FileAuditSink } from '@mcp-blocks/audit-trail';
import { createGateway, DistributedMCPCluster } from '@mcp-blocks/distributed-mcp-pattern';
import { encryptedWebSocket } from '@mcp-blocks/encrypted-websocket';
import { RateLimitedRPC } from '@mcp-blocks/rate-limited-rpc';
import { http, jwt, SecureMCPServer } from '@mcp-blocks/secure-mcp-server';
import { actFor, PEOPLE, type Person, TokenIssuer } from './identities.js';
import { NodeProcess } from './node-process.js';
import { type NodeSettings, SERVICES, type ServiceName } from './node-settings.js';
import { seedDatabase } from './servers/database.js';

/** Options of {@link startStack}. */
export interface StackOptions {
  /** Port of the gateway on 127.0.0.1; 0 takes a free one. */
  readonly port: number;
  /** Base URL of the weather API. */
  readonly weatherApiUrl: string;
}

/** The running demo. */
export interface Stack {
  readonly endpoints: { readonly http: string; readonly ws: string };
  readonly tokens: Readonly<Record<Person, string>>;
  readonly nodes: readonly NodeProcess[];
  readonly clusters: Readonly<Record<ServiceName, DistributedMCPCluster>>;
  /** The audit file of the gateway and of every node. */
  readonly auditFiles: readonly string[];
  /** Makes the gateway's audit file complete on disk. Nodes write theirs as they go. */
  flushAudit(): Promise<void>;
  stop(): Promise<void>;
}

export const GATEWAY_AUDIENCE = 'mcp:gateway';
/** Calls of one tool by one person in a minute, beyond the general limit: low, so that the demo can reach it. */
export const STORM_WARNINGS_PER_MINUTE = 5;

const REPLICAS = 2;
const TOKEN_LIFETIME_SECONDS = 8 * 3600;

/** Starts three services, each as two processes, and the gateway in front of them. A start that fails leaves nothing behind. */
export async function startStack(options: StackOptions): Promise<Stack> {
  const closers: (() => Promise<unknown>)[] = [];
  const stop = async () => {
    for (let close = closers.pop(); close; close = closers.pop()) await close();
  };
  try {
    return { ...(await assemble(options, closers)), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function assemble({ port, weatherApiUrl }: StackOptions, closers: (() => Promise<unknown>)[]): Promise<Omit<Stack, 'stop'>> {
  const data = await mkdtemp(join(tmpdir(), 'mcp-blocks-quickstart-'));
  closers.push(() => rm(data, { recursive: true, force: true }));
  const auditFolder = join(data, 'audit');
  await mkdir(auditFolder);
  await cp(fileURLToPath(new URL('../files', import.meta.url)), join(data, 'files'), { recursive: true });
  seedDatabase(join(data, 'orders.sqlite'));

  // People's tokens and the gateway's own are signed with different keys: neither works in place of the other.
  const people = new TokenIssuer('https://login.quickstart.example');
  const internal = new TokenIssuer('https://gateway.quickstart.example');

  const settings = SERVICES.flatMap((service) =>
    Array.from({ length: REPLICAS }, (_unused, index): NodeSettings => {
      const id = `${service}-${index + 1}`;
      return {
        id,
        service,
        issuer: internal.issuer,
        publicKey: internal.publicKey,
        audience: `mcp:${service}`,
        auditFile: join(auditFolder, `${id}.jsonl`),
        databaseFile: join(data, 'orders.sqlite'),
        filesFolder: join(data, 'files'),
        weatherApiUrl,
      };
    }),
  );
  const starts = await Promise.allSettled(settings.map((node) => NodeProcess.start(node)));
  const nodes = starts.flatMap((start) => (start.status === 'fulfilled' ? [start.value] : []));
  closers.push(() => Promise.all(nodes.map((node) => node.stop())));
  const failed = starts.find((start) => start.status === 'rejected');
  if (failed) throw failed.reason;

  const clusterOf = (service: ServiceName) =>
    new DistributedMCPCluster({
      clusterName: service,
      discoveryMethod: 'static',
      discoveryConfig: {
        serviceName: service,
        nodes: nodes.filter((node) => node.settings.service === service).map((node) => ({ id: node.settings.id, url: node.url })),
      },
      loadBalancingStrategy: 'least-connections',
      circuitBreakerConfig: { enabled: true, failureThreshold: 3, resetTimeout: 5_000 },
      healthCheckConfig: { interval: 2_000, timeout: 5_000, healthyThreshold: 1, unhealthyThreshold: 2 },
      credentials: async (_node, principal) =>
        principal === undefined
          ? { headers: { authorization: `Bearer ${internal.sign({ sub: 'gateway', roles: [] }, `mcp:${service}`, 60)}` } }
          : { headers: { authorization: `Bearer ${actFor(internal, 'gateway', principal, `mcp:${service}`)}` } },
    });
  const clusters = { weather: clusterOf('weather'), database: clusterOf('database'), files: clusterOf('files') };
  closers.push(() => Promise.all(Object.values(clusters).map((cluster) => cluster.close())));
  await Promise.all(Object.values(clusters).map((cluster) => cluster.start()));

  const gatewayAudit = new FileAuditSink({ path: join(auditFolder, 'gateway.jsonl') });
  closers.push(() => gatewayAudit.close());
  const socket = encryptedWebSocket({ path: '/ws' });
  const listener = http({ port, path: '/mcp', upgrades: [socket] });
  const server = new SecureMCPServer({
    service: createGateway({ info: { name: 'quickstart', version: '1.0.0' }, services: clusters }),
    middleware: [
      new RateLimitedRPC({
        audit: gatewayAudit,
        limits: [
          { by: 'principal', requests: 600, windowMs: 60_000 },
          { by: 'principal', tools: ['storm_warning'], requests: STORM_WARNINGS_PER_MINUTE, windowMs: 60_000 },
        ],
      }).middleware,
    ],
    authenticators: [jwt({ key: people.publicKey, algorithms: ['ES256'], issuer: people.issuer, audience: GATEWAY_AUDIENCE })],
    listeners: [listener],
    audit: gatewayAudit,
  });
  closers.push(async () => {
    await server.drain(1_000);
    await server.stop();
  });
  await server.start();

  const origin = new URL(listener.endpoint as string);
  const token = (person: Person) => people.sign(PEOPLE[person], GATEWAY_AUDIENCE, TOKEN_LIFETIME_SECONDS);
  return {
    endpoints: { http: origin.href, ws: `ws://${origin.host}/ws` },
    tokens: { viewer: token('viewer'), analyst: token('analyst'), admin: token('admin') },
    nodes,
    clusters,
    auditFiles: [join(auditFolder, 'gateway.jsonl'), ...settings.map((node) => node.auditFile)],
    flushAudit: () => gatewayAudit.flush(),
  };
}
