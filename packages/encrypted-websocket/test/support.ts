import { readFileSync } from 'node:fs';
import { type IncomingHttpHeaders, request } from 'node:http';
import {
  type AuditEvent,
  type AuthenticationRequest,
  type ListenerHost,
  type Principal,
  RpcError,
  type RpcHandler,
  type RpcService,
  ServiceEventEmitter,
} from '@mcp-blocks/core';
import { testPrincipal } from '@mcp-blocks/core/testing';
import { Client, type ClientOptions } from '@modelcontextprotocol/client';
import { afterEach } from 'vitest';
import { WebSocket } from 'ws';
import { type EncryptedWebSocketOptions, encryptedWebSocket, type WebSocketClientOptions, WebSocketClientTransport } from '../src/index.js';

const fixture = (name: string) => readFileSync(new URL(`fixtures/test-only-${name}`, import.meta.url));

/** Certificates of `test/fixtures`. */
export const certificates = {
  ca: fixture('ca.pem'),
  server: { key: fixture('server.key'), cert: fixture('server.pem') },
  client: { key: fixture('client.key'), cert: fixture('client.pem') },
};

/** Callers by token. */
export const PRINCIPALS: Readonly<Record<string, Principal>> = {
  'alice-token': testPrincipal({ id: 'alice' }),
  'bob-token': testPrincipal({ id: 'bob' }),
};

/** Accepts the tokens of {@link PRINCIPALS} as bearer token or API key. */
export async function authenticateByToken(request: AuthenticationRequest): Promise<Principal> {
  const token = request.header('authorization')?.replace(/^Bearer /, '') ?? request.header('x-api-key');
  const principal = PRINCIPALS[token ?? ''];
  if (principal === undefined) {
    throw new RpcError('unauthenticated', 'Present a valid token', { headers: { 'www-authenticate': 'Bearer realm="test"' } });
  }
  return principal;
}

/** A host that records what the listener tells it. */
export interface TestHost extends ListenerHost {
  readonly audited: AuditEvent[];
  readonly errors: Error[];
  readonly active: { count: number };
}

export function testHost(overrides: Partial<ListenerHost> = {}): TestHost {
  const audited: AuditEvent[] = [];
  const errors: Error[] = [];
  const active = { count: 0 };
  return {
    service: toolService().service,
    authenticate: authenticateByToken,
    audit: (event) => void audited.push(event),
    onError: (error) => void errors.push(error),
    connection: (change) => {
      active.count += change;
    },
    maxMessageBytes: 64 * 1024,
    maxJsonDepth: 32,
    maxInFlight: 16,
    audited,
    errors,
    active,
    ...overrides,
  };
}

/** A promise with its resolver. */
export function deferred<T = void>() {
  let resolve: (value: T) => void = () => {};
  const promise = new Promise<T>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}

/**
 * A service with tools: `echo` (who calls, in which revision), `progress` (two notifications), `hold`
 * (answers once released), `blob` (as many characters as asked for), `denied`.
 */
export function toolService() {
  const events = new ServiceEventEmitter();
  const held = deferred();
  const started = deferred();
  const aborted = deferred();
  const calls: string[] = [];
  const handler: RpcHandler = async ({ method, params }, context) => {
    if (method === 'tools/list') return { tools: [{ name: 'echo', inputSchema: { type: 'object' } }] };
    const text = (value: string) => ({ content: [{ type: 'text', text: value }] });
    const args = (params.arguments ?? {}) as { value?: number };
    calls.push(String(params.name));
    switch (params.name) {
      case 'echo':
        return text(`${context.principal.id} ${context.transport} ${context.protocolVersion} ${JSON.stringify(args)}`);
      case 'progress': {
        const { progressToken } = params._meta as { progressToken: string | number };
        for (const progress of [1, 2]) await context.notify('notifications/progress', { progressToken, progress, total: 2 });
        return text('done');
      }
      case 'hold':
        context.signal.addEventListener('abort', () => aborted.resolve());
        started.resolve();
        await Promise.race([held.promise, aborted.promise]);
        return text('released');
      case 'blob':
        return text('x'.repeat(args.value ?? 0));
      default:
        throw new RpcError('forbidden', 'Not allowed');
    }
  };
  const service: RpcService = {
    info: { name: 'test-tools', version: '1.0.0', capabilities: { tools: { listChanged: true } } },
    handler,
    events,
  };
  return { service, events, calls, release: held.resolve, started: started.promise, aborted: aborted.promise };
}

const cleanups: (() => Promise<unknown>)[] = [];

/** Runs after the test, last registered first. */
export function cleanup(close: () => Promise<unknown>): void {
  cleanups.push(close);
}

afterEach(async () => {
  for (const close of cleanups.splice(0).reverse()) await close();
});

/** A listener on a free loopback port. */
export async function listening(host: ListenerHost = testHost(), options: EncryptedWebSocketOptions = {}) {
  const listener = encryptedWebSocket({ port: 0, ...options });
  cleanup(() => listener.close());
  await listener.listen(host);
  return { listener, url: listener.endpoint as string };
}

/** An SDK v2 client over our transport. */
export async function connectV2(
  url: string,
  mode: 'auto' | 'legacy' = 'auto',
  options: WebSocketClientOptions = {},
  clientOptions: ClientOptions = {},
) {
  const transport = new WebSocketClientTransport(url, { token: 'alice-token', ...options });
  const client = new Client({ name: 'test', version: '1' }, { ...clientOptions, versionNegotiation: { mode } });
  cleanup(() => client.close());
  await client.connect(transport);
  return { client, transport };
}

/** A bare WebSocket with what it received; for sending what no client of ours would. */
export async function openRaw(url: string, token = 'alice-token') {
  const socket = new WebSocket(url, 'mcp', { headers: { authorization: `Bearer ${token}` }, perMessageDeflate: false });
  cleanup(async () => socket.terminate());
  const closed = deferred<number>();
  const messages: { id?: unknown; result?: unknown; error?: { code: number; message: string } }[] = [];
  let wake = () => {};
  socket.on('message', (data) => {
    messages.push(JSON.parse(String(data)));
    wake();
  });
  socket.on('close', (code) => closed.resolve(code));
  await new Promise<void>((resolve, reject) => {
    socket.once('open', resolve);
    socket.once('error', reject);
  });
  const next = async () => {
    while (messages.length === 0) {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
    return messages.shift()!;
  };
  return { socket, next, messages, closed: closed.promise };
}

/** A modern request, as text. */
export function modernRequest(id: number | string, method: string, params: object = {}): string {
  return JSON.stringify({
    jsonrpc: '2.0',
    id,
    method,
    params: {
      ...params,
      _meta: {
        'io.modelcontextprotocol/protocolVersion': '2026-07-28',
        'io.modelcontextprotocol/clientInfo': { name: 'raw', version: '1' },
        'io.modelcontextprotocol/clientCapabilities': {},
      },
    },
  });
}

/** What an upgrade request by hand was answered with. */
export interface UpgradeAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** Sends an upgrade request with exactly these headers besides the handshake's own; `undefined` leaves one out. */
export function upgrade(url: string, headers: Record<string, string | undefined> = {}, path?: string): Promise<UpgradeAnswer> {
  const target = new URL(url.replace(/^ws/, 'http'));
  const all: Record<string, string | undefined> = {
    connection: 'Upgrade',
    upgrade: 'websocket',
    'sec-websocket-version': '13',
    'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
    'sec-websocket-protocol': 'mcp',
    ...headers,
  };
  return new Promise((resolve, reject) => {
    const outgoing = request({
      host: target.hostname,
      port: target.port,
      path: path ?? target.pathname,
      agent: false,
      headers: Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)) as Record<string, string>,
    });
    outgoing.on('error', reject);
    outgoing.on('upgrade', (response, socket) => {
      cleanup(async () => socket.destroy());
      resolve({ status: response.statusCode ?? 0, headers: response.headers, body: '' });
    });
    outgoing.on('response', (response) => {
      let body = '';
      response.on('data', (chunk) => {
        body += String(chunk);
      });
      response.on('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers, body }));
    });
    outgoing.end();
  });
}

/** Waits for what only the network can bring about. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise<void>((resolve) => setImmediate(resolve));
}
