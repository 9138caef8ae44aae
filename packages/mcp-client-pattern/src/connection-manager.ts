import { type Clock, RpcError, sleep } from '@mcp-blocks/core';
import type { Connection, ConnectionEvents, Connector } from './connection.js';
import { Deferred } from './deferred.js';
import { isRefusal, messageOf, readOpenError } from './sdk-errors.js';
import type { Tokens } from './tokens.js';

/**
 * `disconnected`: not started, or given up. `connecting`: the first attempt and its repetitions.
 * `reconnecting`: a connection was lost or replaced. `closed`: for good.
 */
export type ConnectionState = 'disconnected' | 'connecting' | 'connected' | 'reconnecting' | 'closed';

/** Options of {@link ConnectionManager}. */
export interface ConnectionManagerOptions {
  /** In order of preference. */
  readonly connectors: readonly Connector[];
  readonly tokens: Tokens;
  readonly clock: Clock;
  readonly reconnect: boolean;
  /** Further rounds after a failed one before giving up. */
  readonly maxAttempts: number;
  /** Time for one transport to connect and agree on a version. */
  readonly connectTimeoutMs: number;
  /** A connection that lasted this long counts as having worked. */
  readonly stableAfterMs: number;
  /** Milliseconds to wait after the given number of failures in a row. */
  retryDelay(failures: number): number;
  readonly events: ConnectionEvents;
  /** The state or the connection has changed. */
  onChange(): void;
}

interface Active {
  readonly connection: Connection;
  /** Index of its connector. */
  readonly preference: number;
  readonly token: string | undefined;
  readonly openedAt: number;
}

/** How a series of attempts begins. */
interface Start {
  /** The connector tried first in the first round; the ones before it come last. */
  readonly first?: number | undefined;
  /** A token the server does not accept, and how it said so. */
  readonly refused?: { readonly token: string | undefined; readonly why: Error } | undefined;
}

/**
 * Keeps one connection: opens it over the best transport that works, opens another when it is lost, and
 * moves to a better transport when that comes back.
 */
export class ConnectionManager {
  readonly #options: ConnectionManagerOptions;
  readonly #retired = new Set<Connection>();
  readonly #waiting: Deferred<void>[] = [];
  readonly #tokens = new WeakMap<Connection, string | undefined>();
  #identity: Connection | undefined;
  #state: ConnectionState = 'disconnected';
  #active: Active | undefined;
  /** Aborts the running attempts, or the probing for a better transport. */
  #work = new AbortController();
  /** Failed rounds, and connections that broke at once, since one last worked. */
  #failures = 0;
  #lastError: Error | undefined;
  #gaveUp = false;
  #opened = 0;
  #fallbacks = 0;

  constructor(options: ConnectionManagerOptions) {
    this.#options = options;
  }

  get state(): ConnectionState {
    return this.#state;
  }

  get connection(): Connection | undefined {
    return this.#active?.connection;
  }

  /** Whose credentials speak for the client: the present or last connection, unless its token was refused. */
  get identity(): Connection | undefined {
    return this.#identity;
  }

  /** The token a connection was made with. */
  tokenOf(connection: Connection): string | undefined {
    return this.#tokens.get(connection);
  }

  /** Whose authorization a token stands for, where that is known. */
  personOf(token: string): string | undefined {
    return this.#options.tokens.personOf(token);
  }

  get transport(): string | null {
    return this.#active === undefined ? null : (this.#options.connectors[this.#active.preference]?.kind ?? null);
  }

  get lastError(): Error | undefined {
    return this.#lastError;
  }

  get reconnectAttempts(): number {
    return this.#active === undefined ? this.#failures : 0;
  }

  get reconnects(): number {
    return Math.max(0, this.#opened - 1);
  }

  get fallbacks(): number {
    return this.#fallbacks;
  }

  /** Whether a request would wait in vain until somebody calls `connect` or `reconnect`. */
  get gaveUp(): boolean {
    return this.#gaveUp;
  }

  /** Why a request would wait in vain, if it would. */
  get refusal(): RpcError | undefined {
    if (this.#state === 'closed') return new RpcError('cancelled', 'The client has been closed');
    if (!this.#gaveUp) return undefined;
    const error = this.#lastError;
    const reason = error?.message ?? 'the connection was lost';
    if (isRefusal(error)) return new RpcError(error.code, reason, { cause: error });
    return new RpcError('unavailable', `Not connected: ${reason}`, { cause: error });
  }

  /** Resolves when connected; joins attempts under way. Rejects when they are given up. */
  connect(): Promise<void> {
    if (this.#active !== undefined) return Promise.resolve();
    if (this.#state === 'closed') return Promise.reject(new RpcError('cancelled', 'The client has been closed'));
    const waiting = new Deferred<void>();
    this.#waiting.push(waiting);
    if (this.#state === 'disconnected') {
      this.#failures = 0;
      this.#start('connecting');
    }
    return waiting.promise;
  }

  /** Starts anew, whatever the state: the present connection finishes what it has and takes nothing new. */
  reconnect(): Promise<void> {
    if (this.#state === 'closed') return this.connect();
    this.#dropActive();
    this.#failures = 0;
    this.#start('reconnecting');
    return this.connect();
  }

  /**
   * The connection has ended or has failed a request.
   *
   * @param dead - its requests in progress are not waited for.
   */
  lost(connection: Connection, error: Error, dead = false): void {
    const active = this.#active;
    if (active === undefined || active.connection !== connection || this.#state === 'closed') return;
    const { clock, connectors, reconnect, stableAfterMs } = this.#options;
    const worked = clock.now() - active.openedAt >= stableAfterMs;
    // One that breaks as soon as it is made is a failed attempt: a broken server must not be stormed.
    this.#failures = worked ? 0 : this.#failures + 1;
    this.#lastError = error;
    this.#dropActive(dead);
    if (!reconnect) {
      this.#giveUp(error);
      return;
    }
    const refused = (error as RpcError).code === 'unauthenticated' ? { token: active.token, why: error } : undefined;
    if (refused !== undefined) this.#identity = undefined;
    const next = active.preference + 1;
    this.#start('reconnecting', { refused, ...(!worked && next < connectors.length ? { first: next } : {}) });
  }

  /**
   * The server no longer accepts the connection's credentials: gets new ones and another connection with
   * them. Calls about the same connection share one renewal. False when there are no others to get.
   */
  renew(connection: Connection, why: RpcError): boolean {
    if (!this.#options.tokens.renewable) return false;
    const active = this.#active;
    if (active !== undefined && active.connection === connection) {
      this.#identity = undefined;
      this.#dropActive();
      this.#start('reconnecting', { refused: { token: active.token, why } });
    }
    return true;
  }

  /**
   * The connection's token may not do something: gets one that may, and another connection with it. The present
   * one stays in use until then, and when there is none to get, which resolves with false.
   */
  async widen(connection: Connection, why: RpcError): Promise<boolean> {
    try {
      if (!(await this.#options.tokens.widen(this.tokenOf(connection), why))) return false;
    } catch (error) {
      this.#options.events.onError(error as Error);
      return false;
    }
    return this.renew(connection, why);
  }

  async close(): Promise<void> {
    const active = this.#active;
    this.#active = undefined;
    this.#state = 'closed';
    const reason = new RpcError('cancelled', 'The client has been closed');
    this.#work.abort(reason);
    for (const waiting of this.#waiting.splice(0)) waiting.reject(reason);
    this.#options.tokens.close();
    this.#options.onChange();
    await Promise.all([active?.connection.close(), ...[...this.#retired].map((connection) => connection.close())]);
  }

  #dropActive(dead = false): void {
    const connection = this.#active?.connection;
    this.#active = undefined;
    if (connection === undefined) return;
    this.#retired.add(connection);
    void connection.closed.then(() => this.#retired.delete(connection));
    if (dead) void connection.close(true);
    else connection.retire();
  }

  #newWork(): AbortSignal {
    this.#work.abort(new RpcError('cancelled', 'Another attempt to connect has taken over'));
    this.#work = new AbortController();
    return this.#work.signal;
  }

  #start(state: 'connecting' | 'reconnecting', start: Start = {}): void {
    const signal = this.#newWork();
    this.#gaveUp = false;
    this.#setState(state);
    void this.#establish(signal, start).catch((error: unknown) => {
      if (!signal.aborted) this.#giveUp(error as Error);
    });
  }

  /** Rejects when it gives up or is aborted. */
  async #establish(signal: AbortSignal, { first = 0, refused }: Start): Promise<void> {
    const { clock, connectors, maxAttempts, reconnect, retryDelay, tokens } = this.#options;
    const order = connectors.map((_connector, index) => index);
    if (refused !== undefined) await tokens.discard(refused.token, refused.why);
    for (let round = 0; ; round += 1) {
      const falling = round === 0 && first > 0;
      // Down to the next transport at once; back to one that has just failed only after a pause.
      if (this.#failures > 0 && !falling) await sleep(clock, retryDelay(this.#failures), signal);
      try {
        this.#adopt(await this.#openBest(falling ? [...order.slice(first), ...order.slice(0, first)] : order, signal), signal);
        return;
      } catch (error) {
        if (signal.aborted) throw error;
        this.#failures += 1;
        this.#lastError = error as Error;
        if (isRefusal(error) || !reconnect || this.#failures > maxAttempts) throw error;
        this.#options.onChange();
      }
    }
  }

  /** Tries transports in the given order. A refusal of the credentials ends the round: the others share them. */
  async #openBest(order: readonly number[], signal: AbortSignal): Promise<Active> {
    const failures: Error[] = [];
    for (const preference of order) {
      const connector = this.#options.connectors[preference] as Connector;
      try {
        return await this.#openAuthenticated(connector, preference, signal);
      } catch (error) {
        if (signal.aborted || isRefusal(error)) throw error;
        failures.push(new Error(`${connector.kind}: ${messageOf(error)}`, { cause: error }));
      }
    }
    const reasons = failures.map(({ message }) => message).join('; ');
    throw new RpcError('unavailable', `Cannot connect. ${reasons}`, { cause: new AggregateError(failures) });
  }

  /** A refused token is replaced once, and one that may not connect by one that may. */
  async #openAuthenticated(connector: Connector, preference: number, signal: AbortSignal): Promise<Active> {
    const { tokens } = this.#options;
    const refusals = new Set<string>();
    for (;;) {
      const token = await untilAborted(tokens.token(), signal);
      try {
        return await this.#open(connector, preference, token, signal);
      } catch (error) {
        if (signal.aborted || !tokens.renewable || !isRefusal(error) || refusals.has(error.code)) throw error;
        refusals.add(error.code);
        if (error.code === 'unauthenticated') await tokens.discard(token, error);
        else if (!(await untilAborted(tokens.widen(token, error), signal))) throw error;
      }
    }
  }

  async #open(connector: Connector, preference: number, token: string | undefined, signal: AbortSignal): Promise<Active> {
    const { clock, connectTimeoutMs, events } = this.#options;
    const attempt = new AbortController();
    const aborted = new Deferred<never>();
    attempt.signal.addEventListener('abort', () => aborted.reject(attempt.signal.reason), { once: true });
    const onAbort = () => attempt.abort(signal.reason);
    signal.throwIfAborted();
    signal.addEventListener('abort', onAbort, { once: true });
    const late = new RpcError('timeout', `no connection within ${connectTimeoutMs} ms`);
    const cancelTimer = clock.setTimeout(() => attempt.abort(late), connectTimeoutMs);
    const opening = connector.open(token, events, attempt.signal);
    try {
      const connection = await Promise.race([opening, aborted.promise]);
      return { connection, preference, token, openedAt: clock.now() };
    } catch (error) {
      // One that comes after all has no owner.
      void opening.then(
        (tooLate) => tooLate.close(),
        () => {},
      );
      throw readOpenError(error);
    } finally {
      cancelTimer();
      signal.removeEventListener('abort', onAbort);
    }
  }

  #adopt(active: Active, signal: AbortSignal): void {
    if (signal.aborted) {
      void active.connection.close();
      throw signal.reason as Error;
    }
    this.#dropActive();
    this.#active = active;
    this.#identity = active.connection;
    this.#tokens.set(active.connection, active.token);
    this.#opened += 1;
    if (active.preference > 0) this.#fallbacks += 1;
    void active.connection.closed.then((error) =>
      this.lost(active.connection, error ?? new RpcError('unavailable', 'The server closed the connection')),
    );
    for (const waiting of this.#waiting.splice(0)) waiting.resolve();
    if (active.preference > 0) void this.#probeBetter(active, this.#newWork());
    this.#setState('connected');
  }

  /** Looks for the return of a preferred transport for as long as the connection is the active one. */
  async #probeBetter(active: Active, signal: AbortSignal): Promise<void> {
    const better = this.#options.connectors.map((_connector, index) => index).slice(0, active.preference);
    for (let failures = this.#failures + 1; ; failures += 1) {
      try {
        await sleep(this.#options.clock, this.#options.retryDelay(failures), signal);
        return this.#adopt(await this.#openBest(better, signal), signal);
      } catch (error) {
        // Credentials that one transport refuses and another takes: more attempts would not change that.
        if (signal.aborted || isRefusal(error)) return;
      }
    }
  }

  #giveUp(error: Error): void {
    if (this.#state === 'closed') return;
    this.#gaveUp = true;
    this.#lastError = error;
    for (const waiting of this.#waiting.splice(0)) waiting.reject(error);
    this.#setState('disconnected');
  }

  #setState(state: ConnectionState): void {
    if (this.#state === 'closed') return;
    this.#state = state;
    this.#options.onChange();
  }
}

/** What it is about goes on: another attempt may want it. */
async function untilAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  const aborted = new Deferred<never>();
  const onAbort = () => aborted.reject(signal.reason);
  if (signal.aborted) onAbort();
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([promise, aborted.promise]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
