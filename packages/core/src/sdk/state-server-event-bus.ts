import type { ServerEvent, ServerEventBus } from '@modelcontextprotocol/server';
import { Events } from '../events.js';
import { isJsonObject, type JsonObject, type JsonValue } from '../json.js';
import type { StateStore } from '../state.js';

/** Options of {@link StateServerEventBus}. */
export interface StateServerEventBusOptions {
  /** The channel of the store: one name for all processes of a service. */
  readonly key: string;
  /** Told when other processes could not be told, or not be heard, and what a listener threw. Default: nobody is. */
  readonly onError?: (error: Error) => void;
}

const KINDS: ReadonlySet<unknown> = new Set(['tools_list_changed', 'prompts_list_changed', 'resources_list_changed', 'resource_updated']);

/**
 * An SDK `ServerEventBus` on a {@link StateStore}: what one process publishes reaches the
 * `subscriptions/listen` streams of all. It is also the `events` of an `RpcService`.
 *
 * Listeners of the same process hear at once, whatever becomes of the store; the others when the store
 * delivers, and not what is published while they have no connection to it.
 */
export class StateServerEventBus implements ServerEventBus {
  readonly #store: StateStore;
  readonly #key: string;
  readonly #onError: (error: Error) => void;
  readonly #origin = crypto.randomUUID();
  readonly #events: Events<{ change: ServerEvent }>;
  #listening: Promise<() => Promise<void>> | undefined;
  #closed: Promise<void> | undefined;

  constructor(store: StateStore, { key, onError = () => {} }: StateServerEventBusOptions) {
    this.#store = store;
    this.#key = key;
    this.#onError = onError;
    this.#events = new Events(onError);
  }

  publish(event: ServerEvent): void {
    if (this.#closed !== undefined) return;
    this.#events.emit('change', event);
    // Members that are not set have no place in JSON.
    const message = { origin: this.#origin, event: JSON.parse(JSON.stringify(event)) as JsonObject };
    this.#store.publish(this.#key, message).catch((error: Error) => this.#onError(error));
  }

  subscribe(listener: (event: ServerEvent) => void): () => void {
    void this.ready().catch((error: Error) => this.#onError(error));
    return this.#events.on('change', listener);
  }

  /**
   * Resolves when this process hears the others; from then on it does. The first listener asks for it too, and
   * after a failure the next one.
   */
  async ready(): Promise<void> {
    if (this.#closed !== undefined) return;
    this.#listening ??= this.#store.subscribe(this.#key, (message) => this.#heard(message));
    const listening = this.#listening;
    try {
      await listening;
    } catch (error) {
      if (this.#listening === listening) this.#listening = undefined;
      throw error;
    }
  }

  /** Hears and tells nothing any more. Idempotent. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    this.#events.clear();
    const stop = await this.#listening?.catch(() => undefined);
    await stop?.();
  }

  #heard(message: JsonValue): void {
    if (!isJsonObject(message) || message.origin === this.#origin || !isJsonObject(message.event)) return;
    if (KINDS.has(message.event.kind)) this.#events.emit('change', message.event as ServerEvent);
  }
}
