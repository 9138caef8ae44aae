import { AsyncLocalStorage } from 'node:async_hooks';
import type { UpstreamRequest } from './upstream.js';

/**
 * Tells which request a message of the node belongs to. Over HTTP it arrives on the response stream of the
 * request it belongs to, which is read in the asynchronous context that sent the request.
 */
const current = new AsyncLocalStorage<UpstreamRequest | undefined>();

/** The requests in progress on one connection. */
export class CallScope {
  readonly #calls = new Set<UpstreamRequest>();

  /** What `run` receives of the node belongs to the request. */
  async within<T>(request: UpstreamRequest, run: () => Promise<T>): Promise<T> {
    this.#calls.add(request);
    try {
      return await current.run(request, run);
    } finally {
      this.#calls.delete(request);
    }
  }

  /** The request a message belongs to; on a connection without streams of their own, the only one there is. */
  get owner(): UpstreamRequest | undefined {
    const request = current.getStore();
    if (request !== undefined && this.#calls.has(request)) return request;
    const [first] = this.#calls;
    return this.#calls.size === 1 ? first : undefined;
  }
}

/** Runs what belongs to no request, such as connecting: its sockets serve many. */
export function outsideCalls<T>(run: () => T): T {
  return current.run(undefined, run);
}
