import { fileURLToPath } from 'node:url';
import type { Way } from './echo-request.ts';
import { installPeer, PEERS, type PeerName } from './peers.ts';

/** A server program that can be started. */
export interface ServerProgram {
  readonly file: string;
  /** Where it runs: module resolution and relative paths start here. */
  readonly cwd: string;
  /** Arguments after those that every server gets. */
  readonly args?: readonly string[];
}

/** Something measured. */
export interface Contender {
  /** For `--only`, and to find its rows again. */
  readonly id: string;
  /** In tables and charts. */
  readonly title: string;
  /** What is measured, for the reader of the table. */
  readonly note: string;
  /** The ways it is asked in; each is a row. With `session` among them, the memory of a session is measured too. */
  readonly ways: readonly Way[];
  /** Makes the program ready to start: for a peer, installs it. Rejects with the reason it cannot be. */
  prepare(): Promise<ServerProgram>;
}

const FOLDER = fileURLToPath(new URL('..', import.meta.url));

/** Everything that is measured, in the order of a round. The first is what the ratios refer to. */
export const CONTENDERS: readonly Contender[] = [
  {
    id: 'limit',
    title: 'plain node:http',
    note: 'reads the body, parses it and writes the result; no MCP, no checks: the most that Node can do',
    ways: ['modern'],
    prepare: workspace(new URL('./servers/limit.ts', import.meta.url)),
  },
  {
    id: 'ours',
    title: 'MCP Blocks, plain',
    note: '`SecureMCPServer` with an `AuthenticatedToolRegistry`; anonymous callers allowed, Host and Origin checked',
    ways: ['modern', 'session'],
    prepare: workspace(new URL('./servers/ours.ts', import.meta.url)),
  },
  {
    id: 'ours-secured',
    title: 'MCP Blocks, fully secured',
    note: 'the same with a JWT (ES256) per request from one of 32 callers, a role per tool, a limit per caller and one per caller and tool, every call in a hash-chained audit file',
    ways: ['modern', 'session'],
    prepare: workspace(new URL('./servers/ours-secured.ts', import.meta.url)),
  },
  {
    id: 'sdk-v2',
    title: 'SDK v2 2.4.0',
    note: '`createMcpHandler` with `toNodeHandler`; sessions: `NodeStreamableHTTPServerTransport` with JSON responses',
    ways: ['modern', 'stateless', 'session'],
    prepare: workspace(new URL('./servers/sdk-v2.ts', import.meta.url)),
  },
  peer('sdk-v1', 'SDK v1', '`StreamableHTTPServerTransport` with JSON responses; stateless: a server and a transport per request', [
    'stateless',
    'session',
  ]),
  peer('fastmcp', 'fastmcp', '`httpStream` with JSON responses, its `stateless` on or off', ['stateless', 'session']),
  peer('mcp-use', 'mcp-use', '`server.listen()`, request log and telemetry off', ['modern', 'stateless']),
  peer('tmcp', 'tmcp', '`@tmcp/transport-http` behind `@remix-run/node-fetch-server`, as its README has it', [
    'modern',
    'stateless',
    'session',
  ]),
];

function workspace(url: URL): Contender['prepare'] {
  return () => Promise.resolve({ file: fileURLToPath(url), cwd: FOLDER });
}

function peer(id: PeerName, title: string, note: string, ways: readonly Way[]): Contender {
  return { id, title: `${title} ${PEERS[id].version}`, note, ways, prepare: () => installPeer(id) };
}
