import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { type JsonObject, RpcError, type RpcService, ServiceEventEmitter } from '@mcp-blocks/core';
import { http, SecureMCPServer } from '@mcp-blocks/secure-mcp-server';
import { Client } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';
import { Client as V1Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport as V1StdioTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { encryptedWebSocket } from '../../src/index.js';
import { authenticateByToken, certificates, cleanup, deferred } from '../support.js';

/** The command, as `npm run build` leaves it. */
export const CLI = fileURLToPath(new URL('../../dist/cli.js', import.meta.url));
export const CA_FILE = fileURLToPath(new URL('../fixtures/test-only-ca.pem', import.meta.url));

export const SCHEMES = ['ws', 'wss', 'http', 'https'] as const;
export type Scheme = (typeof SCHEMES)[number];

/** SDK v1; SDK v2 in the 2025-11-25 era; SDK v2 that negotiates. */
export const CLIENT_KINDS = ['v1', 'legacy', 'auto'] as const;
export type ClientKind = (typeof CLIENT_KINDS)[number];

/** What a bridge has to get right, as tools. `hold` runs until it is released or cancelled. */
export function bridgedService() {
  const events = new ServiceEventEmitter();
  const released = deferred();
  const started = deferred();
  const aborted = deferred();
  const subscribed: unknown[] = [];
  const seen = [deferred(), deferred()] as const;
  const service: RpcService = {
    info: {
      name: 'bridged',
      version: '1.0.0',
      capabilities: { tools: { listChanged: true }, resources: { subscribe: true, listChanged: true } },
    },
    events,
    toolInputSchema: (name) => (name === 'region' ? REGION_SCHEMA : undefined),
    handler: async ({ method, params }, context) => {
      const text = (value: string) => ({ content: [{ type: 'text', text: value }] });
      if (method === 'tools/list') {
        const tool = (name: string, inputSchema: JsonObject = { type: 'object' }) => ({ name, inputSchema });
        return { tools: [tool('echo'), tool('progress'), tool('hold'), tool('ask'), tool('region', REGION_SCHEMA)] };
      }
      if (method === 'resources/list') return { resources: [{ uri: 'test://one', name: 'one' }] };
      if (method === 'resources/subscribe') {
        subscribed.push(params.uri);
        return {};
      }
      const values = (params.arguments ?? {}) as JsonObject;
      switch (params.name) {
        case 'echo':
          return text(`${context.principal.id} ${context.protocolVersion} ${JSON.stringify(values)}`);
        case 'region':
          return text(String(values.region));
        case 'progress': {
          const { progressToken } = params._meta as { progressToken: string | number };
          for (const progress of [1, 2]) {
            await context.notify('notifications/progress', { progressToken, progress, total: 2 });
            // SDK clients lose a notification that they read together with the result.
            await seen[progress - 1]?.promise;
          }
          return text('done');
        }
        case 'hold':
          context.signal.addEventListener('abort', () => aborted.resolve());
          started.resolve();
          await Promise.race([released.promise, aborted.promise]);
          return text('released');
        case 'ask': {
          const { name } = (params.inputResponses ?? {}) as { name?: { content?: { name?: string } } };
          if (name !== undefined) return text(`hello ${name.content?.name}`);
          const requestedSchema = { type: 'object', properties: { name: { type: 'string' } } };
          const elicit = { method: 'elicitation/create', params: { mode: 'form', message: 'Your name?', requestedSchema } };
          return { resultType: 'input_required', inputRequests: { name: elicit } };
        }
        default:
          throw new RpcError('invalid_params', 'Unknown tool');
      }
    },
  };
  const sawProgress = (progress: number) => seen[progress - 1]?.resolve();
  return { service, events, subscribed, sawProgress, release: released.resolve, started: started.promise, aborted: aborted.promise };
}

const REGION_SCHEMA: JsonObject = { type: 'object', properties: { region: { type: 'string', 'x-mcp-header': 'Region' } } };

/** A real server on a free port, or on `port`. */
export async function startServer(scheme: Scheme, service: RpcService, port = 0) {
  const secure = scheme === 'wss' || scheme === 'https';
  const tls = secure ? { tls: { key: certificates.server.key.toString(), cert: certificates.server.cert.toString() } } : {};
  const server = new SecureMCPServer({
    service,
    authenticators: [{ name: 'test', authenticate: authenticateByToken }],
    listeners: [scheme.startsWith('ws') ? encryptedWebSocket({ port, ...tls }) : http({ port, ...tls })],
    onError: () => {},
  });
  await server.start();
  cleanup(() => server.stop());
  return { server, url: String(server.endpoints[0]) };
}

/** Arguments that make a bridge to `url` work. */
export function bridgeArguments(url: string, ...more: string[]): string[] {
  const ca = /^(wss|https):/.test(url) ? ['--ca', CA_FILE] : [];
  return [CLI, 'bridge', url, '--token-env', 'TEST_TOKEN', ...ca, ...more];
}

export const ENV = { ...process.env, TEST_TOKEN: 'alice-token' } as Record<string, string>;

/** An SDK client whose server is a bridge. `answer` is what the user says when asked. */
export async function connectThroughBridge(kind: ClientKind, url: string, ...more: string[]) {
  const parameters = { command: process.execPath, args: bridgeArguments(url, ...more), env: ENV, stderr: 'pipe' } as const;
  const transport = kind === 'v1' ? new V1StdioTransport(parameters) : new StdioClientTransport(parameters);
  const logged: string[] = [];
  transport.stderr?.on('data', (chunk) => logged.push(String(chunk)));
  const capabilities = { elicitation: { form: {} } };
  const client =
    kind === 'v1'
      ? (new V1Client({ name: 'host', version: '1' }, { capabilities }) as unknown as Client)
      : new Client({ name: 'host', version: '2' }, { capabilities, versionNegotiation: { mode: kind } });
  cleanup(() => client.close());
  if (kind !== 'v1') client.setRequestHandler('elicitation/create', async () => ({ action: 'accept', content: { name: 'Ada' } }));
  await client.connect(transport as never);
  return { client, logged, pid: transport.pid as number };
}

/** A bridge whose pipes the test holds. */
export function spawnBridge(url: string, ...more: string[]) {
  return observe(spawn(process.execPath, bridgeArguments(url, ...more), { env: ENV, stdio: 'pipe' }));
}

export function spawnCli(args: string[], env: Record<string, string> = {}) {
  return observe(spawn(process.execPath, [CLI, ...args], { env: { ...ENV, ...env }, stdio: 'pipe' }));
}

function observe(child: ChildProcess) {
  cleanup(async () => void child.kill('SIGKILL'));
  const output = { stdout: '', stderr: '' };
  let wake = () => {};
  const collect = (name: 'stdout' | 'stderr') =>
    child[name]?.on('data', (chunk) => {
      output[name] += String(chunk);
      wake();
    });
  collect('stdout');
  collect('stderr');
  child.stdin?.on('error', () => {});
  const exited = once(child, 'close').then(([code, signal]) => ({ code, signal }) as { code: number | null; signal: string | null });
  const lines = () =>
    output.stdout
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as { id?: unknown; [member: string]: unknown });
  return {
    child,
    output,
    exited,
    lines,
    write: (...messages: (object | string)[]) => {
      for (const message of messages) child.stdin?.write(`${typeof message === 'string' ? message : JSON.stringify(message)}\n`);
    },
    end: () => child.stdin?.end(),
    /** Waits for an answer. */
    answer: async (id: unknown) => {
      for (;;) {
        const found = lines().find((line) => line.id === id && !('method' in line));
        if (found !== undefined) return found as { result?: JsonObject; error?: { code: number; message: string } };
        await new Promise<void>((resolve) => (wake = resolve));
      }
    },
    logs: async (text: string) => {
      while (!output.stderr.includes(text)) await new Promise<void>((resolve) => (wake = resolve));
    },
  };
}

/** The first two messages of a host of the legacy era. */
export const INITIALIZE = {
  jsonrpc: '2.0',
  id: 'init',
  method: 'initialize',
  params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'host', version: '1' } },
};
export const INITIALIZED = { jsonrpc: '2.0', method: 'notifications/initialized' };
