import { type JsonObject, MemoryAuditSink, RpcError, type RpcService, ServiceEventEmitter } from '@mcp-blocks/core';
import jsonwebtoken from 'jsonwebtoken';
import { onTestFinished } from 'vitest';
import { type HttpOptions, http, jwt, SecureMCPServer, type SecureMCPServerOptions } from '../../src/index.js';

export const SECRET = 'a test secret that is at least 32 bytes long';
export const ISSUER = 'https://issuer.test';
export const AUDIENCE = 'https://mcp.test';

export function token(claims: JsonObject = {}, options: jsonwebtoken.SignOptions = {}): string {
  return jsonwebtoken.sign({ sub: 'alice', roles: ['agent'], iss: ISSUER, aud: AUDIENCE, ...claims }, SECRET, {
    algorithm: 'HS256',
    ...(claims.exp === undefined ? { expiresIn: 600 } : {}),
    ...options,
  });
}

export const testJwt = () => jwt({ key: SECRET, algorithms: ['HS256'], issuer: ISSUER, audience: AUDIENCE });

/** A service whose tools show what a listener must get right. `gate` holds calls of the tool `slow` until opened. */
export function testService() {
  const events = new ServiceEventEmitter();
  let open: () => void = () => {};
  let entered: () => void = () => {};
  const state = {
    events,
    aborted: 0,
    calls: 0,
    gate: new Promise<void>((resolve) => (open = resolve)),
    open: () => open(),
    /** Resolves when a `slow` call has started. */
    started: new Promise<void>((resolve) => (entered = resolve)),
  };
  const tools = ['echo', 'whoami', 'slow', 'progress', 'limited', 'scope', 'bug', 'ask', 'big'];
  const service: RpcService = {
    info: {
      name: 'test',
      version: '1.0.0',
      capabilities: { tools: { listChanged: true }, resources: { subscribe: true, listChanged: true } },
    },
    events,
    toolInputSchema: (name) =>
      name === 'echo' ? { type: 'object', properties: { region: { type: 'string', 'x-mcp-header': 'Region' } } } : undefined,
    handler: async ({ method, params }, context) => {
      const text = (value: unknown) => ({ content: [{ type: 'text', text: JSON.stringify(value) }] });
      if (method === 'tools/list') return { tools: tools.map((name) => ({ name, inputSchema: { type: 'object' } })) };
      if (method === 'resources/subscribe') {
        if (params.uri === 'test://secret') throw new RpcError('forbidden', 'Not for you');
        return {};
      }
      if (method !== 'tools/call') throw new RpcError('method_not_found', `Unknown method: ${method}`);
      state.calls += 1;
      switch (params.name) {
        case 'echo':
          return text(params.arguments ?? {});
        case 'whoami':
          return text({
            id: context.principal.id,
            roles: context.principal.roles,
            transport: context.transport,
            protocolVersion: context.protocolVersion,
            hasSession: context.sessionId !== undefined,
          });
        case 'slow': {
          entered();
          context.signal.addEventListener('abort', () => (state.aborted += 1));
          await Promise.race([
            state.gate,
            new Promise<never>((_resolve, reject) =>
              context.signal.addEventListener('abort', () => reject(new RpcError('cancelled', 'Cancelled'))),
            ),
          ]);
          return text('done');
        }
        case 'progress': {
          const { progressToken } = (params._meta ?? {}) as { progressToken?: string };
          if (progressToken !== undefined) await context.notify('notifications/progress', { progressToken, progress: 1 });
          return text('progressed');
        }
        case 'limited':
          throw new RpcError('rate_limited', 'Too many requests', { data: { retryAfterMs: 1500 }, headers: { 'retry-after': '2' } });
        case 'scope':
          throw new RpcError('insufficient_scope', 'Needs the scope admin', {
            headers: { 'www-authenticate': 'Bearer error="insufficient_scope", scope="admin"' },
          });
        case 'bug':
          throw new Error('secret detail of the failure');
        case 'big':
          return text('x'.repeat(Number((params.arguments as JsonObject).bytes)));
        case 'ask':
          return text((await context.request?.('elicitation/create', (params.arguments ?? {}) as JsonObject)) ?? 'cannot ask');
        default:
          throw new RpcError('invalid_params', `Unknown tool: ${String(params.name)}`);
      }
    },
  };
  return Object.assign(state, { service });
}

export interface TestServer {
  readonly server: SecureMCPServer;
  readonly url: URL;
  readonly audit: MemoryAuditSink;
  readonly errors: Error[];
}

/** A started HTTP server on a free port, stopped when the test ends. Errors are collected. */
export async function startHttp(
  options: Partial<SecureMCPServerOptions> & { service: RpcService; http?: Partial<HttpOptions> },
): Promise<TestServer> {
  const audit = new MemoryAuditSink();
  const errors: Error[] = [];
  const { http: httpOptions, ...rest } = options;
  const server = new SecureMCPServer({
    listeners: [http({ port: 0, ...httpOptions })],
    authenticators: [testJwt()],
    audit,
    onError: (error) => errors.push(error),
    ...rest,
  });
  await server.start();
  onTestFinished(() => server.stop());
  return { server, url: new URL(server.endpoints[0] as string), audit, errors };
}

export const ENVELOPE = {
  'io.modelcontextprotocol/protocolVersion': '2026-07-28',
  'io.modelcontextprotocol/clientInfo': { name: 'test', version: '1' },
  'io.modelcontextprotocol/clientCapabilities': {},
};

/** The headers and body of a modern request, each part replaceable. */
export function modernRequest(method: string, params: JsonObject = {}, headers: Record<string, string> = {}, id: number | string = 7) {
  return {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      authorization: `Bearer ${token()}`,
      'mcp-protocol-version': '2026-07-28',
      'mcp-method': method,
      ...(typeof params.name === 'string' ? { 'mcp-name': params.name } : {}),
      ...headers,
    },
    body: JSON.stringify({ jsonrpc: '2.0', id, method, params: { ...params, _meta: ENVELOPE } }),
  };
}

export function callTool(name: string, args: JsonObject = {}, headers: Record<string, string> = {}) {
  return modernRequest('tools/call', { name, arguments: args }, headers);
}
