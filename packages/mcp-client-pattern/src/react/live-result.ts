import { RpcError } from '@mcp-blocks/core';
import type { MCPClientPattern } from '../mcp-client-pattern.js';
import { Lease } from './lease.js';
import { Observable, type Source } from './observable.js';

/** What is known of something that is read again when it changes. */
export type LiveState<T> =
  | { readonly status: 'loading'; readonly result: undefined; readonly error: undefined }
  | { readonly status: 'success'; readonly result: T; readonly error: undefined }
  /** The newest reading failed; `result` is that of the last one that did not. */
  | { readonly status: 'error'; readonly result: T | undefined; readonly error: Error };

export const LOADING: LiveState<never> = { status: 'loading', result: undefined, error: undefined };

/** What a {@link LiveResult} is a result of. */
export interface LiveRead<T> {
  read(signal: AbortSignal): Promise<T>;
  /** Listens for changes. */
  watch(changes: Changes): Watch;
  /** What the cache has of it, as `clearCache` wants it. */
  readonly cached: string;
}

/** Something that listens for changes. */
export interface Watch {
  /** Resolves when a change can no longer go unheard, or will. */
  readonly ready: Promise<unknown>;
  end(): void;
}

/** Told of changes. */
export interface Changes {
  /** The result has changed, and the cache knows. */
  readonly changed: () => void;
  /** The result may have changed, which the cache does not know. */
  readonly refresh: () => void;
}

/** A result that is read while somebody shows it, and again when the server says that it changed or may have. */
export class LiveResult<T> implements Source<LiveState<T>>, Changes {
  readonly #client: MCPClientPattern;
  readonly #what: LiveRead<T>;
  readonly #state = new Observable<LiveState<T>>(LOADING);
  readonly #lease = new Lease(() => this.#start());
  /** Set while it is shown. */
  #shown: AbortController | undefined;
  #isReading = false;
  /** Something changed after the reading in progress had begun. */
  #isStale = false;

  constructor(client: MCPClientPattern, what: LiveRead<T>) {
    this.#client = client;
    this.#what = what;
  }

  readonly snapshot = (): LiveState<T> => this.#state.value;

  readonly subscribe = (listener: () => void): (() => void) => {
    const ends = [this.#state.listen(listener), this.#lease.hold()];
    return () => {
      for (const end of ends) end();
    };
  };

  /** Reads again, or whatever the cache has. */
  readonly changed = (): void => {
    if (this.#shown === undefined) return;
    if (this.#isReading) this.#isStale = true;
    else void this.#read(this.#shown.signal);
  };

  /** Reads again, past the cache. */
  readonly refresh = (): void => {
    this.#client.clearCache(this.#what.cached);
    this.changed();
  };

  #start(): () => void {
    const shown = new AbortController();
    this.#shown = shown;
    const watch = this.#what.watch(this);
    void watch.ready.then(() => {
      if (this.#shown === shown) this.changed();
    });
    return () => {
      this.#shown = undefined;
      watch.end();
      shown.abort(new RpcError('cancelled', 'Nobody shows the result any longer'));
    };
  }

  async #read(signal: AbortSignal): Promise<void> {
    this.#isReading = true;
    do {
      this.#isStale = false;
      const state = await this.#outcome(signal);
      if (!signal.aborted) this.#state.set(state);
    } while (this.#isStale && !signal.aborted);
    this.#isReading = false;
    // It is shown again since; what has just ended was not for that.
    if (signal.aborted) this.changed();
  }

  async #outcome(signal: AbortSignal): Promise<LiveState<T>> {
    try {
      return { status: 'success', result: await this.#what.read(signal), error: undefined };
    } catch (error) {
      return { status: 'error', result: this.#state.value.result, error: error as Error };
    }
  }
}

/** Calls back when the client is connected again; in between, nobody could tell of changes. */
export function onReconnect(client: MCPClientPattern, reconnected: () => void): () => void {
  let wasConnected = client.getConnectionStatus().state === 'connected';
  return client.on('statusChange', ({ state }) => {
    if (state !== 'connected') return;
    if (wasConnected) reconnected();
    wasConnected = true;
  });
}
