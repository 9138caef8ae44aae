import { MODERN_PROTOCOL_VERSION } from '@mcp-blocks/core';
import { clientOperations, sessionTelemetry, type TelemetryOptions } from '@mcp-blocks/core/otel';
import type { ConnectorEnvironment } from './config.js';
import type { Answer, Connection, Connector, SendOptions } from './connection.js';
import { networkConnectors } from './connectors.js';

const SCOPE = '@mcp-blocks/mcp-client-pattern';

/** Options of {@link tracedConnectors}. */
export interface TracedConnectorsOptions extends TelemetryOptions {
  /** The connectors to observe. Default: WebSocket and HTTP, as the configuration allows. */
  readonly connectors?: (environment: ConnectorEnvironment) => readonly Connector[];
}

/**
 * OpenTelemetry for a client, by the semantic conventions for MCP: pass it as the option `connectors`. Every
 * request sent gets a span of kind client, is counted in `mcp.client.operation.duration`, and carries its span to
 * the server in `_meta`; a request that is sent again is told apart. Sessions are measured in
 * `mcp.client.session.duration`; modern requests over HTTP belong to none. Needs the package `@opentelemetry/api`.
 */
export function tracedConnectors(options: TracedConnectorsOptions = {}): (environment: ConnectorEnvironment) => readonly Connector[] {
  const { connectors = networkConnectors } = options;
  const observe = clientOperations(options);
  const ended = sessionTelemetry('client', SCOPE, options);
  return (environment) => {
    const { clock } = environment.protocol;
    return connectors(environment).map((connector) => ({
      kind: connector.kind,
      async open(token, events, signal) {
        const { kind } = connector;
        const openedAt = clock.now();
        const connection = await connector.open(token, events, signal);
        const protocolVersion = versionOf(connection);
        if (connection.era === 'legacy' || kind !== 'http') {
          void connection.closed.then(() => ended({ transport: kind, protocolVersion, durationMs: clock.now() - openedAt }));
        }
        return new TracedConnection(connection, kind, observe);
      },
    }));
  };
}

class TracedConnection implements Connection {
  readonly watch?: NonNullable<Connection['watch']>;
  readonly #connection: Connection;
  readonly #kind: string;
  readonly #observe: ReturnType<typeof clientOperations>;

  constructor(connection: Connection, kind: string, observe: ReturnType<typeof clientOperations>) {
    if (connection.watch !== undefined) this.watch = connection.watch.bind(connection);
    this.#connection = connection;
    this.#kind = kind;
    this.#observe = observe;
  }

  get era() {
    return this.#connection.era;
  }

  get closed() {
    return this.#connection.closed;
  }

  async request(method: string, params: Parameters<Connection['request']>[1], options: SendOptions): Promise<Answer> {
    let answer: Answer | undefined;
    await this.#observe({ method, params }, { transport: this.#kind, protocolVersion: versionOf(this.#connection) }, async (traced) => {
      answer = await this.#connection.request(traced.method, traced.params, options);
      return answer.result;
    });
    return answer as unknown as Answer;
  }

  retire(): void {
    this.#connection.retire();
  }

  close(dead?: boolean): Promise<void> {
    return this.#connection.close(dead);
  }
}

/** The modern era has one revision; which of the legacy era's is spoken, a connection does not tell. */
function versionOf({ era }: Connection): string | undefined {
  return era === 'modern' ? MODERN_PROTOCOL_VERSION : undefined;
}
