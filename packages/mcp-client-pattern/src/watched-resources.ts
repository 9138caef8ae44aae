import { fromWireError, isRpcError, RpcError } from '@mcp-blocks/core';
import { type Client, ProtocolError } from '@modelcontextprotocol/client';
import { keepListening, type ListenOptions } from './change-subscription.js';
import { messageOf } from './sdk-errors.js';

/** Options of {@link WatchedResources}. */
export interface WatchedResourcesOptions {
  readonly client: Client;
  /** Aborts when the connection has ended. */
  readonly ended: AbortSignal;
  readonly listening: ListenOptions;
  /** Sends a request of the legacy era. */
  request(method: 'resources/subscribe' | 'resources/unsubscribe', uri: string, signal: AbortSignal): Promise<unknown>;
}

/** The resources one connection is subscribed to, in either era. */
export class WatchedResources {
  readonly #options: WatchedResourcesOptions;
  readonly #subscribed = new Set<string>();
  #listening: AbortController | undefined;

  constructor(options: WatchedResourcesOptions) {
    this.#options = options;
  }

  /** `resources/subscribe` and `resources/unsubscribe` (2025-11-25 server/resources, "Subscriptions"). */
  async watchLegacy(uris: readonly string[], signal: AbortSignal): Promise<void> {
    const { request } = this.#options;
    for (const uri of uris) {
      if (this.#subscribed.has(uri)) continue;
      await request('resources/subscribe', uri, signal);
      this.#subscribed.add(uri);
    }
    for (const uri of [...this.#subscribed].filter((each) => !uris.includes(each))) {
      this.#subscribed.delete(uri);
      await request('resources/unsubscribe', uri, signal);
    }
  }

  /** One `subscriptions/listen` for all (2026-07-28 basic/patterns/subscriptions); the next is open before the last is closed. */
  async watchModern(uris: readonly string[], signal: AbortSignal): Promise<void> {
    const { client, ended, listening } = this.#options;
    const next = new AbortController();
    const abort = () => next.abort(signal.reason);
    ended.addEventListener('abort', () => next.abort(ended.reason), { once: true, signal: next.signal });
    signal.addEventListener('abort', abort, { once: true });
    try {
      if (uris.length > 0) {
        signal.throwIfAborted();
        const filter = { resourceSubscriptions: [...uris] };
        const opened = await client.listen(filter, { signal: next.signal });
        const honored = opened.honoredFilter.resourceSubscriptions ?? [];
        const refused = uris.filter((uri) => !honored.includes(uri));
        if (refused.length > 0) throw new RpcError('method_not_found', `The server does not tell of changes of ${refused.join(', ')}`);
        void keepListening(client, filter, listening, next.signal, opened);
      }
    } catch (error) {
      next.abort(error);
      if (isRpcError(error)) throw error;
      if (ProtocolError.isInstance(error)) throw fromWireError({ code: error.code, message: error.message, data: error.data });
      throw new RpcError('unavailable', `The subscription cannot be made: ${messageOf(error)}`, { cause: error });
    } finally {
      signal.removeEventListener('abort', abort);
    }
    this.#listening?.abort();
    this.#listening = next;
  }
}
