import { isJsonObject, type JsonObject, RpcError, type RpcResult, type RpcService, ServiceEventEmitter } from '@mcp-blocks/core';
import { serveChannel } from '@mcp-blocks/core/sdk';
import { ManualClock, settle, testPrincipal } from '@mcp-blocks/core/testing';
import { InMemoryTransport, type JSONRPCMessage } from '@modelcontextprotocol/server';
import { afterEach, expect } from 'vitest';
import { type Connector, type ConnectorEnvironment, type MCPClientConfig, MCPClientPattern, sdkConnector } from '../src/index.js';

export { ManualClock, settle };

/** Makes clients as {@link bench} does and closes them after each test, to see that nothing of them is left. */
export function benches(): typeof bench {
  const open: Bench[] = [];
  afterEach(async () => {
    const closing = open.splice(0);
    for (const { client } of closing) await client.close();
    await settle();
    for (const { clock, webSocket, http } of closing) {
      expect(clock.pendingTimers, 'timers left').toBe(0);
      expect(webSocket.open + http.open, 'connections left').toBe(0);
    }
  });
  return (config) => {
    const made = bench(config);
    open.push(made);
    return made;
  };
}

/** What a test server received, and how it answers. */
export class TestService implements RpcService {
  readonly events = new ServiceEventEmitter();
  readonly info = {
    name: 'test',
    version: '1.0.0',
    capabilities: { tools: { listChanged: true }, resources: { listChanged: true, subscribe: true }, prompts: { listChanged: true } },
  };
  readonly received: { method: string; params: JsonObject }[] = [];
  /** Requests held until released, by tool name or method. */
  readonly held = new Map<string, ((error?: RpcError) => void)[]>();
  readonly hold = new Set<string>();
  ttlMs: number | undefined;
  next: RpcError | undefined;

  count(method: string): number {
    return this.received.filter((each) => each.method === method).length;
  }

  /** Refuses everything held as a server does whose caller's token has expired. */
  expireHeld(): void {
    this.hold.clear();
    for (const goes of this.held.values()) for (const go of goes) go(new RpcError('unauthenticated', 'The token has expired'));
    this.held.clear();
  }

  release(name: string): void {
    this.hold.delete(name);
    for (const go of this.held.get(name) ?? []) go();
    this.held.delete(name);
  }

  readonly handler = async ({ method, params }: { method: string; params: JsonObject }): Promise<RpcResult> => {
    this.received.push({ method, params });
    const name = typeof params.name === 'string' ? params.name : method;
    if (this.hold.has(name)) {
      await new Promise<void>((resolve, reject) => {
        const go = (error?: RpcError) => (error === undefined ? resolve() : reject(error));
        this.held.set(name, [...(this.held.get(name) ?? []), go]);
      });
    }
    const { next } = this;
    this.next = undefined;
    if (next !== undefined) throw next;
    const freshness = this.ttlMs === undefined ? {} : { ttlMs: this.ttlMs, cacheScope: 'private' };
    const inputSchema = { type: 'object' };
    switch (method) {
      case 'tools/list':
        return {
          tools: [
            { name: 'pay', inputSchema },
            { name: 'look', inputSchema, annotations: { readOnlyHint: true } },
            { name: 'put', inputSchema, annotations: { idempotentHint: true } },
          ],
          ...freshness,
        };
      case 'resources/list':
        return { resources: [{ uri: 'test://a', name: 'a' }], ...freshness };
      case 'resources/templates/list':
        return { resourceTemplates: [], ...freshness };
      case 'resources/read':
        return { contents: [{ uri: String(params.uri), text: `read ${this.count(method)}` }], ...freshness };
      case 'resources/subscribe':
      case 'resources/unsubscribe':
        if (params.uri === 'test://secret') throw new RpcError('forbidden', 'Not for you');
        return {};
      case 'prompts/list':
        return { prompts: [{ name: 'p' }], ...freshness };
      case 'prompts/get':
        return { messages: [{ role: 'user', content: { type: 'text', text: `prompt ${this.count(method)}` } }] };
      case 'tools/call':
        return { content: [{ type: 'text', text: `${name} ${JSON.stringify(params.arguments)} ${this.count(method)}` }] };
      default:
        throw new RpcError('method_not_found', `No method ${method}`);
    }
  };
}

/** One way to reach a service, that can be cut. */
export class TestLink {
  up = true;
  /** Attempts made to open it. */
  attempts = 0;
  readonly tokens: (string | undefined)[] = [];
  /** Throws to refuse an attempt. */
  accept: (token: string | undefined) => void = () => {};
  readonly #ends = new Set<InMemoryTransport>();
  readonly #service: RpcService;

  constructor(service: RpcService) {
    this.#service = service;
  }

  get open(): number {
    return this.#ends.size;
  }

  connector(kind: string, { protocol }: ConnectorEnvironment): Connector {
    return sdkConnector(kind, protocol, (token) => {
      this.attempts += 1;
      this.tokens.push(token);
      if (!this.up) throw new Error(`${kind} is down`);
      this.accept(token);
      const [clientEnd, serverEnd] = InMemoryTransport.createLinkedPair();
      this.#ends.add(serverEnd);
      serveChannel(this.#service, serverEnd, { principal: testPrincipal(), transport: kind });
      const { onclose } = serverEnd;
      serverEnd.onclose = () => {
        this.#ends.delete(serverEnd);
        onclose?.();
      };
      return clientEnd;
    });
  }

  /** The server's ends send something of their own. */
  async send(message: JSONRPCMessage): Promise<void> {
    await Promise.all([...this.#ends].map((end) => end.send(message)));
  }

  /** The server's ends stop answering without closing. */
  freeze(): void {
    for (const end of this.#ends) end.onmessage = () => {};
  }

  /** Breaks every connection; `down` also refuses new ones. */
  async cut(down = false): Promise<void> {
    this.up = !down;
    await Promise.all([...this.#ends].map((end) => end.close()));
    await settle();
  }
}

export interface Bench {
  readonly client: MCPClientPattern;
  readonly clock: ManualClock;
  readonly service: TestService;
  readonly webSocket: TestLink;
  readonly http: TestLink;
}

/** A client with two links to one service, on a clock of its own. `random` is 0.5: every pause is half its bound. */
export function bench(config: Partial<MCPClientConfig> = {}): Bench {
  const clock = new ManualClock();
  const service = new TestService();
  const webSocket = new TestLink(service);
  const http = new TestLink(service);
  let ids = 0;
  const client = new MCPClientPattern({
    serverUrl: 'http://127.0.0.1:1/mcp',
    clock,
    random: () => 0.5,
    newId: () => `key-${++ids}`,
    healthCheckInterval: 0,
    connectors: (environment) => [
      ...(environment.enableWebSocket ? [webSocket.connector('websocket', environment)] : []),
      ...(environment.enableHttpFallback ? [http.connector('http', environment)] : []),
    ],
    ...config,
  });
  return { client, clock, service, webSocket, http };
}

/** The outcome of a promise, so that a test can look at it before it is settled. */
export function watch<T>(promise: Promise<T>): { value?: T; error?: RpcError; settled: boolean } {
  const outcome: { value?: T; error?: RpcError; settled: boolean } = { settled: false };
  promise.then(
    (value) => Object.assign(outcome, { value, settled: true }),
    (error: unknown) => Object.assign(outcome, { error, settled: true }),
  );
  return outcome;
}

export function metaOf(params: JsonObject | undefined): JsonObject {
  return isJsonObject(params?._meta) ? params._meta : {};
}
