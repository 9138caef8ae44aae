import { isJsonObject, type JsonObject, type JsonRpcRequest, type JsonRpcResponse } from '@mcp-blocks/core';

/** One request to send again on a new connection. */
export interface Step {
  readonly method: string;
  readonly params: JsonObject;
}

/**
 * What the host has set up in its session of the legacy era, so that a new connection can be brought to the
 * same state: `initialize`, the log level, the resources subscribed to. Only what the server accepted counts.
 */
export class SessionMemory {
  #initialize: JsonObject | undefined;
  #protocolVersion: unknown;
  #logLevel: JsonObject | undefined;
  readonly #subscriptions = new Map<string, JsonObject>();
  /** Whether the host has sent `notifications/initialized`. */
  initialized = false;

  /** Whether there is a session: `initialize` was answered with success. */
  get established(): boolean {
    return this.#initialize !== undefined;
  }

  /** The revision the host was told; a new connection must be in the same. */
  get protocolVersion(): unknown {
    return this.#protocolVersion;
  }

  /** The host's own `initialize`. */
  get handshake(): Step {
    return { method: 'initialize', params: this.#initialize ?? {} };
  }

  /** What follows the handshake, in order. */
  get steps(): readonly Step[] {
    return [
      ...(this.#logLevel === undefined ? [] : [{ method: 'logging/setLevel', params: this.#logLevel }]),
      ...[...this.#subscriptions.values()].map((params) => ({ method: 'resources/subscribe', params })),
    ];
  }

  /** Learns from an answer on its way to the host. */
  learn({ method, params = {} }: JsonRpcRequest, { result }: JsonRpcResponse): void {
    if (!isJsonObject(result)) return;
    switch (method) {
      case 'initialize':
        this.#initialize = params;
        this.#protocolVersion = result.protocolVersion;
        this.#logLevel = undefined;
        this.#subscriptions.clear();
        break;
      case 'logging/setLevel':
        this.#logLevel = params;
        break;
      case 'resources/subscribe':
        this.#subscriptions.set(String(params.uri), params);
        break;
      case 'resources/unsubscribe':
        this.#subscriptions.delete(String(params.uri));
        break;
    }
  }
}
