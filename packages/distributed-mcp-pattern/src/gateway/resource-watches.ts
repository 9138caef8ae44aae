import { type Principal, principalKey, type RpcContext, RpcError, type ServiceEvent } from '@mcp-blocks/core';
import type { ChangeWatch } from '../changes/change-feeds.js';
import { identityKey } from '../upstream/identity.js';
import type { GatewaySource } from './federated-lists.js';

interface Watched {
  readonly service: string;
  readonly uri: string;
  readonly principal: Principal;
  source: GatewaySource;
  watch: ChangeWatch;
  /** Who holds it: the signals of subscriptions, or the names of callers whose listener has none. */
  readonly holders: Set<AbortSignal | string>;
}

/** Most resources watched at a time, counted per service and identity. */
const MAX_WATCHED = 10_000;

/** Which resources callers have subscribed to: each is watched once per identity, as long as somebody holds it. */
export class ResourceWatches {
  readonly #publish: (event: ServiceEvent) => void;
  readonly #watched = new Map<string, Watched>();

  constructor(publish: (event: ServiceEvent) => void) {
    this.#publish = publish;
  }

  /**
   * Resolves when the service has agreed.
   * @throws RpcError as the service refuses; `method_not_found` when it does not tell of changes.
   */
  async subscribe(service: string, source: GatewaySource, uri: string, context: RpcContext): Promise<void> {
    const key = keyOf(service, uri, context);
    const watched = this.#watched.get(key) ?? this.#open(key, { service, source, uri, principal: context.principal });
    const holder = context.subscription ?? holderOf(context);
    watched.holders.add(holder);
    context.subscription?.addEventListener('abort', () => this.#release(key, watched, holder), { once: true });
    if (context.subscription?.aborted) this.#release(key, watched, holder);
    try {
      await watched.watch.ready;
    } catch (error) {
      this.#release(key, watched, holder);
      throw error;
    }
  }

  /** Where the listener tells of the end by `subscription`, there is nothing left to do. */
  unsubscribe(services: Iterable<string>, uri: string, context: RpcContext): void {
    for (const service of services) {
      const key = keyOf(service, uri, context);
      const watched = this.#watched.get(key);
      if (watched !== undefined) this.#release(key, watched, holderOf(context));
    }
  }

  close(): void {
    for (const { watch } of this.#watched.values()) watch.close();
    this.#watched.clear();
  }

  /** Goes on with other services: what is watched at one that has changed is watched anew, and told of as changed. */
  update(services: ReadonlyMap<string, GatewaySource>): void {
    for (const [key, watched] of this.#watched) {
      const source = services.get(watched.service);
      if (source === watched.source) continue;
      watched.watch.close();
      if (source?.watch === undefined) {
        this.#watched.delete(key);
        continue;
      }
      const { uri, principal } = watched;
      watched.source = source;
      watched.watch = source.watch({ uri, principal }, this.#publish);
      // Those who hold it have been told that it is watched; a service that refuses has nothing to tell.
      watched.watch.ready.catch(() => {});
      this.#publish({ kind: 'resource_updated', uri });
    }
  }

  #open(key: string, about: Pick<Watched, 'service' | 'source' | 'uri' | 'principal'>): Watched {
    const { source, uri, principal } = about;
    if (source.watch === undefined) throw new RpcError('method_not_found', 'The service does not tell of changes');
    if (this.#watched.size >= MAX_WATCHED) throw new RpcError('unavailable', 'Too many resources are subscribed to');
    const watched: Watched = { ...about, watch: source.watch({ uri, principal }, this.#publish), holders: new Set() };
    this.#watched.set(key, watched);
    return watched;
  }

  #release(key: string, watched: Watched, holder: AbortSignal | string): void {
    if (!watched.holders.delete(holder) || watched.holders.size > 0) return;
    watched.watch.close();
    if (this.#watched.get(key) === watched) this.#watched.delete(key);
  }
}

function keyOf(service: string, uri: string, { principal }: RpcContext): string {
  return JSON.stringify([service, uri, identityKey(principal)]);
}

function holderOf({ principal, sessionId }: RpcContext): string {
  return JSON.stringify([principalKey(principal), sessionId ?? '']);
}
