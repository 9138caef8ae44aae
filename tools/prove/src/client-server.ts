/** A server of `prove:client`: one process with one listener, whose tools enter what they do into the ledger. */
import { connect } from 'node:net';
import { isJsonObject, type JsonObject, META, type RpcService } from '@mcp-blocks/core';
import { encryptedWebSocket } from '@mcp-blocks/encrypted-websocket';
import { http, SecureMCPServer } from '@mcp-blocks/secure-mcp-server';
import { mulberry } from './random.ts';

/** What a server listens for. */
export type Door = 'websocket' | 'http';

const [door, ledgerPort, seed] = process.argv.slice(2) as [Door, string, string];
const random = mulberry(Number(seed));

/** One call in so many takes its time, so that faults also find calls in progress. */
const SLOW_CALLS = 0.1;
const SLOW_CALL_MS = 20;
const DRAIN_MS = 5000;

const ledger = connect(Number(ledgerPort), '127.0.0.1').setNoDelay().setEncoding('utf8');
const waiting: ((count: number) => void)[] = [];
let rest = '';
ledger.on('data', (text: string) => {
  const lines = (rest + text).split('\n');
  rest = lines.pop() as string;
  for (const line of lines) waiting.shift()?.(Number(line));
});

function enter(id: unknown, key: unknown, mode: 'each' | 'once'): Promise<number> {
  return new Promise((resolve) => {
    waiting.push(resolve);
    ledger.write(`${id} ${key} ${mode}\n`);
  });
}

function pause(): Promise<void> | undefined {
  return random() < SLOW_CALLS ? new Promise((resolve) => setTimeout(resolve, random() * SLOW_CALL_MS)) : undefined;
}

const tool = (name: string, annotations: JsonObject = {}) => ({ name, inputSchema: { type: 'object' }, annotations });
const TOOLS = [tool('read', { readOnlyHint: true }), tool('put', { idempotentHint: true }), tool('add'), tool('add_by_key')];

const service: RpcService = {
  info: { name: 'ledger', version: '1.0.0', capabilities: { tools: {} } },
  async handler({ method, params }) {
    if (method === 'tools/list') return { tools: TOOLS };
    const { id } = params.arguments as JsonObject;
    const key = isJsonObject(params._meta) ? params._meta[META.idempotencyKey] : undefined;
    await pause();
    const count = params.name === 'read' ? 0 : await enter(id, key, params.name === 'add_by_key' ? 'once' : 'each');
    await pause();
    return { content: [{ type: 'text', text: `${id} ${count}` }] };
  },
};

const sessions = { idleTimeoutMs: 60_000, maxSessionsPerPrincipal: 10_000 };
const listener = door === 'http' ? http({ port: 0, sessions, maxConnectionsPerIp: 10_000 }) : encryptedWebSocket({ port: 0 });
const server = new SecureMCPServer({
  service,
  allowAnonymous: true,
  listeners: [listener],
  // What faults make of its connections.
  onError: () => {},
});

process.once('SIGTERM', async () => {
  await server.drain(DRAIN_MS);
  await server.stop();
  process.exit();
});
process.once('disconnect', () => process.exit());

await server.start();
process.send?.(Number(new URL(listener.endpoint as string).port));
