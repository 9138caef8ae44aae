import { fileURLToPath } from 'node:url';
import { installPeer, PEERS } from '../peers.ts';
import type { Pinning } from '../pinning.ts';
import { type ServerAnnouncement, ServerProcess } from '../server-process.ts';
import { startReverseProxy } from './reverse-proxies.ts';

/** Something that stands between the callers and the node, running. */
export interface RunningStation {
  readonly announcement: ServerAnnouncement;
  /** Ends it, then reads what it left behind before that is removed. */
  stop<T>(read: () => T | Promise<T>): Promise<T>;
}

/** One way from the callers to the node. */
export interface Station {
  readonly id: 'direct' | 'haproxy' | 'nginx' | 'bare' | 'gateway' | 'gateway-loaded' | 'mcp-proxy';
  /** In tables. */
  readonly title: string;
  /** For the reader of the table. */
  readonly note: string;
  /** @throws Error saying why it cannot be started here. */
  start(nodePort: number, pinning: Pinning): Promise<RunningStation>;
}

const FOLDER = fileURLToPath(new URL('../..', import.meta.url));

/** The first is what ratios and added times refer to. */
export const STATIONS: readonly Station[] = [
  {
    id: 'direct',
    title: 'direct to the node',
    note: 'nothing in between: what the node and the load generator can do together on their core',
    start: async (port) => ({ announcement: { port }, stop: async (read) => read() }),
  },
  {
    id: 'haproxy',
    title: 'HAProxy',
    note: "Debian's package, one thread, HTTP mode with connections kept to the node, no log",
    start: (nodePort, pinning) => startReverseProxy('haproxy', nodePort, pinning.server),
  },
  {
    id: 'nginx',
    title: 'nginx',
    note: "Debian's package, one worker, connections kept to the node, no access log",
    start: (nodePort, pinning) => startReverseProxy('nginx', nodePort, pinning.server),
  },
  {
    id: 'bare',
    title: 'bare Node proxy (undici)',
    note: '`node:http` and an undici `Pool`, forty lines that read nothing: what a gateway on Node can be at most',
    start: program('bare-proxy.ts'),
  },
  {
    id: 'gateway',
    title: 'our gateway, plain',
    note: '`createGateway` over a cluster, served by `SecureMCPServer`; anonymous callers, no health checks, breaker or outlier detection',
    start: program('gateway.ts', 'plain'),
  },
  {
    id: 'gateway-loaded',
    title: 'our gateway, fully loaded',
    note: 'the same with a JWT (ES256) per request from one of 32 callers, credentials of its own for the node, a limit per caller and one per caller and tool, health checks, breaker and outlier detection, every call in a hash-chained audit file',
    start: program('gateway.ts', 'loaded'),
  },
  {
    id: 'mcp-proxy',
    title: `mcp-proxy ${PEERS['mcp-proxy'].version}`,
    note: 'from npm, its functions `startHTTPServer` and `proxyServer` with a client of the node, as its command fronts stdio servers only. All callers share one connection and identity; it knows one server, has no balancing, limits, breaker or audit, and passes on no request for input and no log messages',
    async start(nodePort, { server }) {
      const peer = await installPeer('mcp-proxy');
      return ServerProcess.start({ ...peer, args: [urlOf(nodePort)] }, 'stateless', server);
    },
  },
];

/** Starts the node that all of them lead to. */
export function startNode(pinning: Pinning): Promise<ServerProcess> {
  return ServerProcess.start({ file: serverFile('gateway-node.ts'), cwd: FOLDER }, 'stateless', pinning.generator);
}

function program(file: string, ...args: readonly string[]): Station['start'] {
  return (nodePort, { server }) =>
    ServerProcess.start({ file: serverFile(file), cwd: FOLDER, args: [urlOf(nodePort), ...args] }, 'stateless', server);
}

function serverFile(name: string): string {
  return fileURLToPath(new URL(`../servers/${name}`, import.meta.url));
}

function urlOf(port: number): string {
  return `http://127.0.0.1:${port}/mcp`;
}
