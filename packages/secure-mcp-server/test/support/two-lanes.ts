import { Agent, request as httpRequest } from 'node:http';
import { type Authenticator, isJsonObject, type JsonObject, RpcError, type RpcErrorCode, type RpcService } from '@mcp-blocks/core';
import { FastLane } from '@mcp-blocks/core/sdk';
import { onTestFinished, vi } from 'vitest';
import { startHttp } from './server.js';

/** What a handler was asked, as far as it can be compared. */
type Seen = JsonObject;

/** A service that does what its caller wants, whatever that is, and keeps what it was asked by each lane. */
export function obedientService() {
  const seen: Record<string, Seen[]> = { fast: [], sdk: [] };
  const service: RpcService = {
    info: {
      name: 'obedient',
      version: '1.0.0',
      title: 'Obedient',
      instructions: 'Say what you want.',
      capabilities: {
        tools: { listChanged: true },
        resources: { subscribe: true, listChanged: true },
        prompts: {},
        completions: {},
        logging: {},
        tasks: {},
      },
    },
    toolInputSchema: (name) =>
      name === 'headers'
        ? {
            type: 'object',
            properties: {
              region: { type: 'string', 'x-mcp-header': 'Region' },
              nested: { type: 'object', properties: { count: { type: 'integer', 'x-mcp-header': 'Count' } } },
            },
          }
        : { type: 'object' },
    handler: async ({ method, params }, { principal, signal, notify, addResponseHeader, ...context }) => {
      seen[principal.id]?.push(JSON.parse(JSON.stringify({ method, params, ...context, aborted: signal.aborted })) as JsonObject);
      const wanted = isJsonObject(params['arguments']) ? params['arguments'] : {};
      for (const header of list(wanted['headers'])) addResponseHeader?.(String(header['name']), String(header['value']));
      for (const note of list(wanted['notes'])) {
        await notify(String(note['method']), note['params'] as JsonObject).catch(() => {});
      }
      const { error, result } = wanted;
      if (error === 'bug') throw new Error('a secret');
      if (isJsonObject(error)) {
        throw new RpcError(error['code'] as RpcErrorCode, String(error['message']), {
          ...(isJsonObject(error['data']) ? { data: error['data'] } : {}),
          ...(error['number'] === undefined ? {} : { jsonRpcCode: error['number'] as number }),
          ...(isJsonObject(error['headers']) ? { headers: error['headers'] as Record<string, string> } : {}),
        });
      }
      if ('result' in wanted) return result as JsonObject;
      switch (method) {
        case 'tools/list':
          return { tools: [{ name: 'echo', inputSchema: { type: 'object' } }], ttlMs: 5, cacheScope: 'public' };
        case 'resources/list':
          return { resources: [], _meta: { own: 1 } };
        case 'prompts/list':
          return Object.freeze({ prompts: [], nextCursor: 'x' });
        case 'tools/call':
          return { content: [{ type: 'text', text: JSON.stringify(wanted) }] };
        default:
          return { asked: method };
      }
    },
  };
  return { service, seen };
}

function list(value: unknown): JsonObject[] {
  return Array.isArray(value) ? value.filter(isJsonObject) : [];
}

export interface Sent {
  readonly method?: string;
  readonly path?: string;
  /** Names and values in turn. */
  readonly headers: readonly string[];
  readonly body: string | Buffer;
}

export interface Got {
  readonly status: number;
  readonly headers: Record<string, unknown>;
  readonly body: unknown;
}

/** Of an answer, what is not said by its request. */
const NEVER_EQUAL = ['date', 'content-length', 'mcp-session-id', 'transfer-encoding'];

/** Leaves the requests of the principal `sdk` to the SDK, and tells which share of all the lane took. */
export function countLane() {
  const admit = FastLane.prototype.admit;
  let admitted = 0;
  let all = 0;
  const spy = vi.spyOn(FastLane.prototype, 'admit').mockImplementation(function (this: FastLane, ...args) {
    if (args[1].principal.id === 'sdk') return undefined;
    const request = admit.apply(this, args);
    if (request !== undefined) admitted += 1;
    return request;
  });
  onTestFinished(() => spy.mockRestore());
  return { admitted: () => admitted / all, asked: (count: number) => (all += count) };
}

/** Two servers of the same service; one has the fast lane, on the other every request is the SDK's. */
export async function startTwoLanes() {
  const { service, seen } = obedientService();
  const { admitted, asked } = countLane();
  const agent = new Agent({ keepAlive: true });
  onTestFinished(() => agent.destroy());
  const servers = await Promise.all(
    ['fast', 'sdk'].map(async (id) => {
      const everybody: Authenticator = {
        name: 'everybody',
        authenticate: () => Promise.resolve({ id, authentication: 'everybody', roles: [], scopes: [] }),
      };
      const { url } = await startHttp({ service, authenticators: [everybody], onError: () => {} });
      return { id, url };
    }),
  );
  /** The answers of both, and what both handlers saw. */
  const ask = async (sent: Sent) => {
    asked(1);
    const outcomes = [];
    for (const { id, url } of servers) {
      const got = await post(agent, url, sent);
      outcomes.push({ got, seen: seen[id]?.splice(0) });
    }
    return { fast: outcomes[0], sdk: outcomes[1] };
  };
  return { ask, admitted };
}

function post(agent: Agent, url: URL, { method = 'POST', path = url.pathname, headers, body }: Sent): Promise<Got> {
  return new Promise((resolve, reject) => {
    const bytes = Buffer.from(body as string);
    const all = ['host', url.host, 'content-length', String(bytes.length), ...headers];
    const request = httpRequest({ agent, host: url.hostname, port: url.port, path, method, headers: all as never }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () => {
        const text = Buffer.concat(chunks).toString();
        const kept = Object.entries(response.headers).filter(([name]) => !NEVER_EQUAL.includes(name));
        resolve({ status: response.statusCode ?? 0, headers: Object.fromEntries(kept), body: read(text) });
      });
    });
    request.on('error', reject);
    request.end(bytes);
  });
}

/** JSON, or the messages of an event stream. */
function read(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    const data = text.split('\n').filter((line) => line.startsWith('data: {'));
    return data.length === 0 ? text : data.map((line) => JSON.parse(line.slice('data: '.length)) as unknown);
  }
}
