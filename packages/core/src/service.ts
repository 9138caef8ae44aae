import { Events } from './events.js';
import type { JsonObject } from './json.js';
import type { Caller, RpcHandler } from './rpc.js';

/** How a service presents itself in `server/discover` and `initialize`. */
export interface ServiceInfo {
  readonly name: string;
  readonly version: string;
  readonly title?: string;
  /** Shown to the model by hosts: how to use the service. */
  readonly instructions?: string;
  /** MCP `ServerCapabilities`. */
  readonly capabilities: JsonObject;
}

/** Something clients may have subscribed to has changed. The shape of the SDK's `ServerEvent`. */
export type ServiceEvent =
  | { readonly kind: 'tools_list_changed' }
  | { readonly kind: 'prompts_list_changed' }
  | { readonly kind: 'resources_list_changed' }
  | { readonly kind: 'resource_updated'; readonly uri: string };

/** A source of {@link ServiceEvent}s. Returns the function that ends the subscription. */
export interface ServiceEvents {
  subscribe(listener: (event: ServiceEvent) => void): () => void;
}

/**
 * A handler with what a listener must know to serve it. `AuthenticatedToolRegistry`, a cluster and a
 * bridged SDK server are services; `{ info, handler }` around a function of your own is one too.
 */
export interface RpcService {
  readonly info: ServiceInfo;
  readonly handler: RpcHandler;
  readonly events?: ServiceEvents;
  /**
   * The JSON Schema of a tool's arguments. Listeners check `Mcp-Param-*` headers against its
   * `x-mcp-header` declarations; without it those headers are not checked. For a tool the caller may not
   * use it answers as for an unknown one, or a refused header would tell that the tool exists.
   */
  toolInputSchema?(name: string, caller: Caller): JsonObject | undefined;
}

/** An in-process {@link ServiceEvents} that can be published to. A throwing listener harms no other. */
export class ServiceEventEmitter implements ServiceEvents {
  readonly #events = new Events<{ change: ServiceEvent }>();

  subscribe(listener: (event: ServiceEvent) => void): () => void {
    return this.#events.on('change', listener);
  }

  publish(event: ServiceEvent): void {
    this.#events.emit('change', event);
  }

  get listenerCount(): number {
    return this.#events.listenerCount('change');
  }
}
