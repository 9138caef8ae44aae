import { type CancelTimer, type Clock, type ServiceEvent, ServiceEventEmitter, type ServiceEvents } from '@mcp-blocks/core';
import type { ChangeWatch } from '../changes/change-feeds.js';
import { ALL_LISTS } from '../changes/node-feed.js';
import type { GatewaySource } from './federated-lists.js';

/** Several nodes tell of the same change; told of within this time, it is told once. */
const COALESCE_MS = 50;

/** The change events of all services as one. Their lists are watched while somebody listens. */
export class GatewayEvents implements ServiceEvents {
  #sources: readonly GatewaySource[];
  readonly #clock: Clock;
  readonly #onListChange: (event: ServiceEvent) => void;
  readonly #emitter = new ServiceEventEmitter();
  readonly #pending = new Map<string, ServiceEvent>();
  readonly #watches = new Map<GatewaySource, ChangeWatch>();
  #cancelTimer: CancelTimer | undefined;

  constructor(sources: readonly GatewaySource[], clock: Clock, onListChange: (event: ServiceEvent) => void) {
    this.#sources = sources;
    this.#clock = clock;
    this.#onListChange = onListChange;
  }

  subscribe(listener: (event: ServiceEvent) => void): () => void {
    const stop = this.#emitter.subscribe(listener);
    if (this.#emitter.listenerCount === 1) this.#watch();
    return () => {
      stop();
      if (this.#emitter.listenerCount === 0) this.close();
    };
  }

  publish(event: ServiceEvent): void {
    if (event.kind !== 'resource_updated') this.#onListChange(event);
    this.#pending.set(event.kind === 'resource_updated' ? `resource ${event.uri}` : event.kind, event);
    this.#cancelTimer ??= this.#clock.setTimeout(() => this.#flush(), COALESCE_MS);
  }

  close(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    this.#pending.clear();
    for (const watch of this.#watches.values()) watch.close();
    this.#watches.clear();
  }

  /** Goes on with other sources: what they list is something else. */
  update(sources: readonly GatewaySource[]): void {
    this.#sources = sources;
    if (this.#emitter.listenerCount === 0) return;
    for (const [source, watch] of this.#watches) {
      if (sources.includes(source)) continue;
      watch.close();
      this.#watches.delete(source);
    }
    this.#watch();
    for (const event of ALL_LISTS) this.publish(event);
  }

  #watch(): void {
    for (const source of this.#sources) {
      if (this.#watches.has(source)) continue;
      const watch = source.watch?.({}, (event) => this.publish(event));
      if (watch !== undefined) this.#watches.set(source, watch);
    }
  }

  #flush(): void {
    this.#cancelTimer = undefined;
    const events = [...this.#pending.values()];
    this.#pending.clear();
    for (const event of events) this.#emitter.publish(event);
  }
}
