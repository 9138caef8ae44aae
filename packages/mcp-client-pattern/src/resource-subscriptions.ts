import { type Clock, type JsonObject, RpcError } from '@mcp-blocks/core';
import type { Connection } from './connection.js';

/** What subscribers are told. */
export interface ResourceChange {
  readonly uri: string;
  /** It may have changed while nobody could tell: there was another connection, or a gap. Read it again. */
  readonly missed: boolean;
}

export type ResourceListener = (change: ResourceChange) => void;

/** Options of {@link ResourceSubscriptions}. */
export interface ResourceSubscriptionsOptions {
  readonly clock: Clock;
  /** Time for the server to agree, in milliseconds. */
  readonly timeoutMs: number;
  connect(): Promise<void>;
  connection(): Connection | undefined;
  /** What any listener is told. */
  onChange(change: ResourceChange): void;
  /** Of listeners, and of subscriptions that another connection did not take over. */
  onError(error: Error): void;
}

/** Subscriptions to resources that outlive connections. */
export class ResourceSubscriptions {
  readonly #options: ResourceSubscriptionsOptions;
  readonly #listeners = new Map<string, Set<ResourceListener>>();
  /** Those that a connection has had. */
  #established = new Set<string>();
  #connection: Connection | undefined;
  #last: Promise<void> = Promise.resolve();

  constructor(options: ResourceSubscriptionsOptions) {
    this.#options = options;
  }

  async subscribe(uri: string, listener: ResourceListener): Promise<() => Promise<void>> {
    const listeners = this.#listeners.get(uri) ?? new Set();
    this.#listeners.set(uri, listeners.add(listener));
    try {
      await this.#options.connect();
      await this.#apply();
    } catch (error) {
      this.#forget(uri, listener);
      throw error;
    }
    return () => this.unsubscribe(uri, listener);
  }

  async unsubscribe(uri: string, listener?: ResourceListener): Promise<void> {
    if (this.#forget(uri, listener)) await this.#apply();
  }

  /** There is another connection. */
  connected(): void {
    const before = [...this.#established];
    if (this.#listeners.size === 0) return;
    const missed = () => {
      for (const uri of before) this.#tell(uri, true);
    };
    this.#apply().then(missed, (error: unknown) => {
      if (this.#listeners.size > 0) this.#options.onError(error as Error);
      missed();
    });
  }

  /** Notifications may have been lost on the way. */
  gap(): void {
    for (const uri of this.#established) this.#tell(uri, true);
  }

  notified(method: string, { uri }: JsonObject): void {
    if (method === 'notifications/resources/updated' && typeof uri === 'string') this.#tell(uri, false);
  }

  close(): void {
    this.#listeners.clear();
    this.#established.clear();
  }

  /** Whether nobody is left who listens. */
  #forget(uri: string, listener: ResourceListener | undefined): boolean {
    const listeners = this.#listeners.get(uri);
    if (listeners === undefined) return false;
    if (listener === undefined) listeners.clear();
    else listeners.delete(listener);
    return listeners.size === 0 && this.#listeners.delete(uri);
  }

  #tell(uri: string, missed: boolean): void {
    this.#options.onChange({ uri, missed });
    for (const listener of [...(this.#listeners.get(uri) ?? [])]) {
      try {
        listener({ uri, missed });
      } catch (error) {
        this.#options.onError(error as Error);
      }
    }
  }

  /** Makes the connection's subscriptions those that are listened to, one change at a time. */
  #apply(): Promise<void> {
    const applied = this.#last.then(() => this.#watch());
    this.#last = applied.catch(() => {});
    return applied;
  }

  async #watch(): Promise<void> {
    const connection = this.#options.connection();
    const uris = [...this.#listeners.keys()];
    const same =
      connection === this.#connection && uris.length === this.#established.size && uris.every((uri) => this.#established.has(uri));
    // Without a connection, the next one gets them.
    if (connection === undefined || same) return;
    if (connection.watch === undefined) throw new RpcError('method_not_found', 'The connection takes no subscriptions to resources');
    const { clock, timeoutMs } = this.#options;
    const waiting = new AbortController();
    const late = new RpcError('timeout', `The server did not agree to a subscription within ${timeoutMs} ms`, { data: { timeoutMs } });
    const cancelTimer = clock.setTimeout(() => waiting.abort(late), timeoutMs);
    try {
      await connection.watch(uris, waiting.signal);
      this.#connection = connection;
      this.#established = new Set(uris);
    } catch (error) {
      throw waiting.signal.aborted ? late : error;
    } finally {
      cancelTimer();
    }
  }
}
