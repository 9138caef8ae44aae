import { subscribe } from 'node:diagnostics_channel';
import { openSync, writeSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { type Authenticator, isJsonObject, type JsonObject, RpcError, type RpcMiddleware, type RpcService } from '@mcp-blocks/core';
import { EtcdDiscovery } from '@mcp-blocks/distributed-mcp-pattern';
import { http, SecureMCPServer } from '@mcp-blocks/secure-mcp-server';
import { Idempotency } from '@mcp-blocks/shared-state';
import { RedisStateStore } from '@mcp-blocks/shared-state/redis';
import { byName, CHECKER, type FromNode, type NodeBug, type NodeOrder, SERVICE, type ToNode, type Trouble } from './cluster-orders.ts';

const MAX_WORK_MS = 4;
/** Who has too much to do takes its time to say so. */
const REFUSAL_MS = 50;
const LATE_MS = 500;
const ETCD_PAUSE_MS = 50;
const WAIT_MS = 200;

const TOOLS: readonly JsonObject[] = [
  { name: 'read', inputSchema: { type: 'object' }, annotations: { readOnlyHint: true } },
  { name: 'append', inputSchema: { type: 'object' }, annotations: { readOnlyHint: false } },
  { name: 'put', inputSchema: { type: 'object' }, annotations: { readOnlyHint: false } },
];

const { id, port, url, etcdUrl, redisUrl, ledger, pace } = JSON.parse(process.argv[2] as string) as NodeOrder;
const file = openSync(ledger, 'a');
let trouble: Trouble = {};
let bug: NodeBug | null = null;
let calls = 0;

const tell = (report: FromNode) => process.send?.(report, () => {});
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

async function call(tool: unknown, token: string): Promise<void> {
  const { failing, slowMs = 0 } = trouble;
  if (failing === 'unavailable') {
    await sleep(REFUSAL_MS);
    throw new RpcError('unavailable', 'In trouble');
  }
  if (failing !== undefined) await new Promise(() => {});
  await sleep(slowMs + Math.random() * MAX_WORK_MS);
  if (tool === 'read') return;
  // One write, which the kernel has when it returns: killing the process does not undo it.
  const write = () => writeSync(file, `${token} ${id} ${process.pid}\n`);
  if (bug === 'answers-first') setTimeout(write, LATE_MS);
  else write();
  // There is a moment between a deed and its answer.
  await sleep(Math.random() * MAX_WORK_MS);
}

const service: RpcService = {
  info: { name: SERVICE, version: '1.0.0', capabilities: { tools: {} } },
  handler: async ({ method, params }) => {
    if (method === 'tools/list') return { tools: [...TOOLS] };
    if (method !== 'tools/call') throw new RpcError('method_not_found', 'Only tools');
    // A lost one has been counted.
    if (trouble.failing !== 'lost') calls += 1;
    const token = isJsonObject(params.arguments) ? String(params.arguments.token) : '';
    await call(params.name, token);
    return { content: [{ type: 'text', text: `${token} ${id}` }] };
  },
};

// The server shows nobody its sockets.
subscribe('http.server.request.start', (message) => {
  const { request } = message as { readonly request: IncomingMessage };
  if (trouble.failing !== 'lost' || request.headers['mcp-method'] !== 'tools/call') return;
  calls += 1;
  request.socket.resetAndDestroy();
});

const checked: Authenticator = {
  name: byName.name,
  authenticate: async (request) => {
    const principal = await byName.authenticate(request);
    if (trouble.sick && principal?.id === CHECKER) throw new RpcError('unavailable', 'Sick');
    return principal;
  },
};

const idempotency = new Idempotency({
  store: new RedisStateStore({ url: redisUrl }),
  serviceName: SERVICE,
  leaseMs: pace.leaseMs,
  waitMs: WAIT_MS,
});
/** `put` has its effect once for a key. Calls of `append` have keys as well, and nobody looks at them. */
const once: RpcMiddleware = (next) => {
  const guarded = idempotency.middleware(next);
  return (request, context) => (request.params.name === 'put' && bug !== 'no-keys' ? guarded : next)(request, context);
};
const server = new SecureMCPServer({
  service,
  authenticators: [checked],
  listeners: [http({ port })],
  middleware: [once],
  onError: () => {},
});
const registry = new EtcdDiscovery({ endpoints: [etcdUrl], leaseTtlMs: pace.leaseMs, requestTimeoutMs: 1_000 });

async function enter(): Promise<void> {
  for (;;) {
    try {
      await registry.register(SERVICE, { id, url });
      tell({ entered: true });
      return;
    } catch {
      // etcd is being restarted.
      await sleep(ETCD_PAUSE_MS);
    }
  }
}

process.once('disconnect', () => process.exit());
process.on('message', (message: ToNode) => {
  if ('enter' in message) void enter();
  else if ('bug' in message) bug = message.bug;
  // What it answers too early is done by then.
  else if ('count' in message) setTimeout(() => tell({ calls }), bug === 'answers-first' ? 2 * LATE_MS : 0);
  else trouble = message.trouble;
});
await server.start();
tell({ listening: true });
