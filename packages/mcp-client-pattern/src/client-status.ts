import type { Events } from '@mcp-blocks/core';
import type { Connection } from './connection.js';
import type { ConnectionManager, ConnectionState } from './connection-manager.js';
import type { ConnectionStatus, MCPClientEvents } from './events.js';
import { HealthState } from './health-state.js';
import { LatencyMeter } from './latency-meter.js';

/** Options of {@link ClientStatus}. */
export interface ClientStatusOptions {
  readonly manager: ConnectionManager;
  readonly degradedLatencyMs: number | undefined;
  readonly events: Events<MCPClientEvents>;
  /** There is another connection. Called before listeners are told. */
  onConnected(): void;
}

/** How the client is connected and how well, and telling when that changes. */
export class ClientStatus {
  readonly latency = new LatencyMeter();
  readonly #options: ClientStatusOptions;
  readonly #health: HealthState;
  #seen: { readonly state: ConnectionState; readonly connection: Connection | undefined; readonly lastError: Error | undefined } = {
    state: 'disconnected',
    connection: undefined,
    lastError: undefined,
  };
  #lastTransport: string | null = null;

  constructor(options: ClientStatusOptions) {
    this.#options = options;
    this.#health = new HealthState(options.degradedLatencyMs);
  }

  snapshot(): ConnectionStatus {
    const { state, transport, connection, lastError, reconnectAttempts } = this.#options.manager;
    return {
      state,
      transport,
      era: connection?.era ?? null,
      health: this.#health.value,
      latency: this.latency.average,
      ...(lastError === undefined ? {} : { lastError }),
      reconnectAttempts,
    };
  }

  /** The manager's state, connection or last error may have changed. */
  changed(): void {
    const { events, manager, onConnected } = this.#options;
    const { state, connection, transport, lastError } = manager;
    const before = this.#seen;
    this.#seen = { state, connection, lastError };
    const isNew = connection !== undefined && connection !== before.connection;
    if (isNew) onConnected();
    this.#judgeHealth();
    if (isNew && transport !== null && transport !== this.#lastTransport) {
      const from = this.#lastTransport;
      this.#lastTransport = transport;
      events.emit('transportChange', { from, to: transport });
    }
    if (state !== before.state || connection !== before.connection || lastError !== before.lastError)
      events.emit('statusChange', this.snapshot());
  }

  /** The server has answered with a result, this long after the request was sent. */
  answered(roundTripMs: number): void {
    this.latency.record(roundTripMs);
    this.#judgeHealth();
  }

  #judgeHealth(): void {
    const from = this.#health.value;
    const { state, lastError } = this.#options.manager;
    const { average } = this.latency;
    if (this.#health.judge(state, lastError !== undefined, average))
      this.#options.events.emit('healthChange', { from, to: this.#health.value, latency: average });
  }
}
