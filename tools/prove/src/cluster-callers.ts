import { isRpcError, META } from '@mcp-blocks/core';
import { type MCPClientConfig, MCPClientPattern } from '@mcp-blocks/mcp-client-pattern';
import { until } from './cluster-processes.ts';

/** What the caller of a call that changes something was told in the end. */
export type Told = 'done' | 'not done' | 'unknown';

/** What callers were told, against what has happened. */
export interface Account {
  readonly calls: number;
  readonly done: number;
  readonly unknown: number;
  readonly twice: readonly string[];
  /** The caller was told that it is done, and it is not. */
  readonly lost: readonly string[];
  /** The caller was told that it is not done, and it is. */
  readonly denied: readonly string[];
  /** The caller was told nothing. */
  readonly open: readonly string[];
}

/** One caller that reads again and again, and is kept on one node while that lives. */
interface Route {
  node: string | undefined;
  onAnswer: ((node: string) => void) | undefined;
}

type Tool = 'read' | 'append' | 'put';

const READ_PAUSE_MS = 25;
const CHANGE_PAUSE_MS = 40;
const AGAIN_PAUSE_MS = 50;
const TIMEOUT_MS = 20_000;

/** No two calls of a run have the same token, whoever makes them. */
let tokens = 0;

/** How many callers of a kind each gateway has. */
export interface Load {
  readonly routes: number;
  readonly changers: number;
}

/** Everybody who calls, over both gateways, WebSocket and HTTP, in both eras, until told to stop. */
export class Callers {
  /** Reads that failed: nothing is lost by them, but somebody has to ask again. */
  failedReads = 0;
  reads = 0;
  /** Answers to something else than was asked. */
  readonly wrong: string[] = [];
  /** Calls that have ended, of any kind. */
  ended = 0;
  readonly #clients: MCPClientPattern[] = [];
  readonly #routes: Route[] = [];
  readonly #told = new Map<string, Told | undefined>();
  readonly #loops: Promise<void>[] = [];
  #over = false;

  constructor(gatewayUrls: readonly string[], { routes, changers }: Load) {
    for (const [place, serverUrl] of gatewayUrls.entries()) {
      for (let index = 0; index < routes; index += 1) this.#keepReading(this.#client(serverUrl, `route-${place}-${index}`));
      for (let index = 0; index < changers; index += 1) {
        const wire: Partial<MCPClientConfig> =
          [{}, { enableWebSocket: false }, { versionNegotiation: 'legacy', enableWebSocket: false } as const][index % 3] ?? {};
        const client = this.#client(serverUrl, `caller-${place}-${index}`, wire);
        this.#keepChanging(client, 'append');
        this.#keepChanging(client, 'put');
      }
    }
  }

  /** Waits until so many more calls have ended. */
  async more(calls: number): Promise<void> {
    const enough = this.ended + calls;
    await until(`${calls} more calls end`, () => this.ended >= enough);
  }

  /** From now to the first answer that another node gives, for every caller that was on this one; milliseconds. */
  failover(node: string): Promise<number[]> {
    const from = performance.now();
    const here = this.#routes.filter((route) => route.node === node);
    return Promise.all(
      here.map(
        (route) =>
          new Promise<number>((resolve) => {
            route.onAnswer = (other) => {
              if (other === node) return;
              route.onAnswer = undefined;
              resolve(performance.now() - from);
            };
          }),
      ),
    );
  }

  /** Makes no new calls; resolves when those under way have ended, or have had their time. */
  async stop(): Promise<void> {
    this.#over = true;
    let ended = 0;
    for (const loop of this.#loops) void loop.then(() => (ended += 1));
    await until('every call ends', () => ended === this.#loops.length).catch(() => {});
    await Promise.all(this.#clients.map((client) => client.close()));
  }

  account(effects: ReadonlyMap<string, number>): Account {
    const all = [...this.#told];
    const of = (wanted: (told: Told | undefined, count: number) => boolean) =>
      all.filter(([token, told]) => wanted(told, effects.get(token) ?? 0)).map(([token]) => token);
    return {
      calls: all.length,
      done: of((told) => told === 'done').length,
      unknown: of((told) => told === 'unknown').length,
      twice: of((_told, count) => count > 1),
      lost: of((told, count) => told === 'done' && count === 0),
      denied: of((told, count) => told === 'not done' && count > 0),
      open: of((told) => told === undefined),
    };
  }

  #client(serverUrl: string, name: string, wire: Partial<MCPClientConfig> = {}): MCPClientPattern {
    const client = new MCPClientPattern({
      serverUrl,
      enableCaching: false,
      credentials: { token: name },
      requestTimeout: TIMEOUT_MS,
      reconnectOptions: { initialDelay: 20, maxDelay: 200, maxAttempts: Number.POSITIVE_INFINITY },
      ...wire,
    });
    this.#clients.push(client);
    return client;
  }

  #keepReading(client: MCPClientPattern): void {
    const route: Route = { node: undefined, onAnswer: undefined };
    this.#routes.push(route);
    this.#keep(READ_PAUSE_MS, async () => {
      const token = `read-${++tokens}`;
      this.reads += 1;
      try {
        const text = await call(client, 'read', token);
        const [answered, node] = text.split(' ');
        if (answered !== token) this.wrong.push(`'${text}' answered '${token}'`);
        route.node = node;
        route.onAnswer?.(node as string);
      } catch {
        this.failedReads += 1;
      }
    });
  }

  #keepChanging(client: MCPClientPattern, tool: 'append' | 'put'): void {
    this.#keep(CHANGE_PAUSE_MS, async () => {
      const token = `${tool}-${++tokens}`;
      this.#told.set(token, undefined);
      this.#told.set(token, await (tool === 'append' ? this.#append(client, token) : this.#put(client, token)));
    });
  }

  /** Once: who does not know what became of it asks nobody to repeat it. */
  async #append(client: MCPClientPattern, token: string): Promise<Told> {
    try {
      await call(client, 'append', token);
      return 'done';
    } catch (error) {
      return isRpcError(error) && error.code === 'ambiguous_outcome' ? 'unknown' : 'not done';
    }
  }

  /** With the same key until somebody knows what became of it. */
  async #put(client: MCPClientPattern, token: string): Promise<Told> {
    for (;;) {
      try {
        await call(client, 'put', token);
        return 'done';
      } catch (error) {
        if (isNeverKnown(error)) return 'unknown';
        await pause(AGAIN_PAUSE_MS);
      }
    }
  }

  #keep(pauseMs: number, act: () => Promise<void>): void {
    const loop = async () => {
      while (!this.#over) {
        await act();
        this.ended += 1;
        await pause(pauseMs * (0.5 + Math.random()));
      }
    };
    this.#loops.push(loop());
  }
}

async function call(client: MCPClientPattern, tool: Tool, token: string): Promise<string> {
  const _meta = { [META.idempotencyKey]: token };
  const result = await client.request('tools/call', { name: tool, arguments: { token }, _meta }, { repeatable: tool !== 'append' });
  return String((result.content as unknown as readonly { readonly text: string }[])[0]?.text);
}

/** The node that had begun it is gone, and nobody else will hear of it. */
function isNeverKnown(error: unknown): boolean {
  for (let current = error; isRpcError(current); current = current.cause) {
    if (current.data?.reason === 'idempotency_unknown') return true;
  }
  return false;
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
