import { setTimeout as sleep } from 'node:timers/promises';
import { isRpcError, type JsonObject } from '@mcp-blocks/core';
import { AmbiguousOutcomeError, type MCPClientConfig, MCPClientPattern, type RequestOptions } from '@mcp-blocks/mcp-client-pattern';
import { type CallBook, KINDS, type Kind, type Outcome } from './client-book.ts';

const CALLERS = 16;
const LOOK_MS = 5;
export const TIMEOUT_MS = 3000;

/** One call in so many is cancelled by its caller, within so much time. */
const CANCELLED = 0.02;
const CANCELLED_WITHIN_MS = 10;

/** For clients in a hurry, since faults are short here. */
export const HURRY: Partial<MCPClientConfig> = {
  connectTimeout: 400,
  healthCheckInterval: 500,
  healthCheckTimeoutMs: 100,
  reconnectOptions: { initialDelay: 20, maxDelay: 100, maxAttempts: Number.POSITIVE_INFINITY },
};

/** Where a client's server is. */
export interface Ports {
  readonly websocket: number;
  readonly http: number;
}

/** Makes one call; a mutant makes it wrongly. */
export type MakeCall = (
  client: MCPClientPattern,
  kind: Kind,
  args: JsonObject,
  options: RequestOptions,
) => Promise<{ readonly content: unknown }>;

export const makeCall: MakeCall = (client, kind, args, options) =>
  client.callTool(kind, args, kind === 'add_by_key' ? { ...options, repeatable: true } : options);

/** Sums over the clients there were. */
export interface ClientTotals {
  clients: number;
  reconnects: number;
  fallbacks: number;
  retries: number;
  ambiguous: number;
}

/** Callers that never stop calling, on a client that is now and then closed under them and replaced. */
export class Workload {
  readonly totals: ClientTotals = { clients: 0, reconnects: 0, fallbacks: 0, retries: 0, ambiguous: 0 };
  readonly #book: CallBook;
  readonly #random: () => number;
  readonly #config: MCPClientConfig;
  readonly #makeCall: MakeCall;
  #client: MCPClientPattern;
  #callers: Promise<unknown> = Promise.resolve();
  #isOver = false;
  #awaited: { readonly since: number; resolve(ms: number): void } | undefined;
  settled = 0;

  constructor(book: CallBook, ports: Ports, random: () => number, config: Partial<MCPClientConfig>, make = makeCall) {
    this.#book = book;
    this.#random = random;
    this.#makeCall = make;
    this.#config = {
      requestTimeout: TIMEOUT_MS,
      maxConcurrentRequests: CALLERS / 2,
      serverUrl: `http://127.0.0.1:${ports.http}/mcp`,
      webSocketUrl: `ws://127.0.0.1:${ports.websocket}/ws`,
      ...config,
    };
    this.#client = this.#newClient();
  }

  /** Milliseconds until a call that was begun after this one is answered. */
  nextAnswer(): Promise<number> {
    return new Promise((resolve) => {
      this.#awaited = { since: performance.now(), resolve };
    });
  }

  get transport(): string | null {
    return this.#client.getConnectionStatus().transport;
  }

  start(): void {
    this.#callers = Promise.all(Array.from({ length: CALLERS }, () => this.#keepCalling()));
  }

  /** Closes the client in the midst of its calls; others begin on a new one. */
  async replaceClient(): Promise<void> {
    const old = this.#client;
    this.#client = this.#newClient();
    await this.#retire(old);
  }

  /** Resolves when the last calls are settled, or `patienceMs` after they should have been. */
  async stop(patienceMs: number): Promise<void> {
    this.#isOver = true;
    const patience = new AbortController();
    await Promise.race([this.#callers, sleep(TIMEOUT_MS + patienceMs, undefined, { signal: patience.signal }).catch(() => {})]);
    patience.abort();
    const left = () => this.#client.getMetrics().activeRequests + this.#client.getMetrics().queuedRequests;
    // A cancelled call is settled before it has left the client, and the tools may be being learned.
    for (const since = performance.now(); left() > 0 && performance.now() - since < TIMEOUT_MS + patienceMs; ) await sleep(LOOK_MS);
    if (left() > 0) this.#book.wrong(`${left()} requests are left in a client without calls`);
    await this.#retire(this.#client);
  }

  #newClient(): MCPClientPattern {
    const client = new MCPClientPattern(this.#config);
    this.totals.clients += 1;
    client.on('ambiguousOutcome', () => {
      this.totals.ambiguous += 1;
    });
    void this.#learnTools(client);
    return client;
  }

  /** Which calls may be repeated the server says. */
  async #learnTools(client: MCPClientPattern): Promise<void> {
    while (client.getConnectionStatus().state !== 'closed') {
      try {
        await client.listTools({ useCache: false, priority: 1 });
        return;
      } catch {
        // Somebody has to tell it, so once more.
      }
    }
  }

  async #retire(client: MCPClientPattern): Promise<void> {
    await client.close();
    const { reconnects, fallbacks, retries } = client.getMetrics();
    this.totals.reconnects += reconnects;
    this.totals.fallbacks += fallbacks;
    this.totals.retries += retries;
  }

  async #keepCalling(): Promise<void> {
    while (!this.#isOver) {
      await this.#call(KINDS[Math.floor(this.#random() * KINDS.length)] as Kind);
      this.settled += 1;
    }
  }

  async #call(kind: Kind): Promise<void> {
    const id = this.#book.begin(kind);
    const startedAt = performance.now();
    const cancel = this.#random() < CANCELLED ? new AbortController() : undefined;
    const timer = cancel && setTimeout(() => cancel.abort(), this.#random() * CANCELLED_WITHIN_MS);
    const options = { priority: Math.floor(this.#random() * 3), ...(cancel === undefined ? {} : { signal: cancel.signal }) };
    let outcome: Outcome;
    try {
      const { content } = await this.#makeCall(this.#client, kind, { id }, options);
      const text = (content as { text: string }[])[0]?.text;
      if (!text?.startsWith(`${id} `)) this.#book.wrong(`call ${id} (${kind}) was answered '${text}'`);
      outcome = 'answered';
      if (this.#awaited !== undefined && startedAt >= this.#awaited.since) {
        this.#awaited.resolve(performance.now() - this.#awaited.since);
        this.#awaited = undefined;
      }
    } catch (error) {
      outcome = this.#read(id, kind, error);
    }
    clearTimeout(timer);
    this.#book.end(id, outcome, performance.now() - startedAt);
  }

  #read(id: number, kind: Kind, error: unknown): Outcome {
    if (error instanceof AmbiguousOutcomeError) {
      this.#book.reported(id, error.idempotencyKey ?? '');
      return 'ambiguous';
    }
    if (!isRpcError(error)) {
      this.#book.wrong(`call ${id} (${kind}) failed with ${String(error)}`);
      return 'not run';
    }
    this.#book.failed(`${kind}: ${error.code}${error.data?.sent === true ? ', sent' : ''}`);
    if (error.data?.sent !== true) return 'not run';
    return error.code === 'cancelled' ? 'cancelled' : 'sent';
  }
}
