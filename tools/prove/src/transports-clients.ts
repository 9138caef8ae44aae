import { isRpcError, type JsonObject, MODERN_PROTOCOL_VERSION, type ProtocolEra } from '@mcp-blocks/core';
import { type ManualClock, sdkTransportClient, type TransportClient, type TransportConnectOptions } from '@mcp-blocks/core/testing';
import { MCPClientPattern, sdkConnector } from '@mcp-blocks/mcp-client-pattern';
import { Client, type Transport } from '@modelcontextprotocol/client';
import { Client as V1Client } from '@modelcontextprotocol/sdk/client/index.js';
import { ElicitRequestSchema } from '@modelcontextprotocol/sdk/types.js';

/** Whose client: ours, or one of the official SDK. */
export const CLIENTS = ['MCPClientPattern', 'SDK v2', 'SDK v1'] as const;
export type ClientName = (typeof CLIENTS)[number];

const HOUR_MS = 3_600_000;
const INFO = { name: 'transports', version: '1.0.0' };
const CAPABILITIES = { elicitation: { form: {} } };

/** What {@link connectClient} needs. */
export interface ClientSettings extends TransportConnectOptions {
  readonly era: ProtocolEra;
  readonly clock: ManualClock;
  /** Names the transport. */
  readonly kind: string;
}

/** Connects a client over a transport of its SDK. */
export async function connectClient(name: ClientName, transport: Transport, settings: ClientSettings): Promise<TransportClient> {
  switch (name) {
    case 'MCPClientPattern':
      return connectOurs(transport, settings);
    case 'SDK v2': {
      const mode = settings.era === 'modern' ? { pin: MODERN_PROTOCOL_VERSION } : 'legacy';
      const client = new Client(INFO, { capabilities: CAPABILITIES, versionNegotiation: { mode } });
      answerWith(client, settings);
      const made = sdkTransportClient(client);
      await client.connect(transport);
      return made;
    }
    case 'SDK v1': {
      const client = new V1Client(INFO, { capabilities: CAPABILITIES });
      client.setRequestHandler(ElicitRequestSchema, ({ params }) => settings.answer(params as JsonObject) as never);
      const made = sdkTransportClient(client);
      await client.connect(transport as never);
      return made;
    }
  }
}

function answerWith(client: Client, { answer }: TransportConnectOptions): void {
  client.setRequestHandler('elicitation/create', ({ params }) => answer(params as JsonObject) as never);
}

async function connectOurs(transport: Transport, settings: ClientSettings): Promise<TransportClient> {
  const notifications: string[] = [];
  const errors: Error[] = [];
  let next: Transport | undefined = transport;
  const client = new MCPClientPattern({
    serverUrl: 'http://127.0.0.1/',
    connectors: ({ protocol }) => [
      sdkConnector(settings.kind, protocol, () => {
        // The case is about this one connection; what comes after it is a client of its own.
        if (next === undefined) throw new Error('There is no further connection');
        const fresh = next;
        next = undefined;
        return fresh;
      }),
    ],
    enableReconnection: false,
    enableCaching: false,
    healthCheckInterval: 0,
    maxConcurrentRequests: 1000,
    requestTimeout: HOUR_MS,
    versionNegotiation: settings.era,
    clientInfo: INFO,
    capabilities: CAPABILITIES,
    configureClient: (sdk) => answerWith(sdk, settings),
    clock: settings.clock,
    onError: (error) => errors.push(error),
  });
  client.on('notification', ({ method }) => {
    if (method.endsWith('list_changed')) notifications.push(method);
  });
  await client.connect();
  return {
    notifications,
    errors,
    request: (method, params, { signal, timeoutMs, onProgress } = {}) =>
      client
        .request(method, params, {
          ...(signal === undefined ? {} : { signal }),
          ...(timeoutMs === undefined ? {} : { timeout: timeoutMs }),
          ...(onProgress === undefined ? {} : { onProgress }),
        })
        .catch((error: unknown) => {
          // The cases go by the numbers on the wire.
          throw isRpcError(error) && error.jsonRpcCode !== undefined
            ? Object.assign(new Error(error.message), { code: error.jsonRpcCode, data: error.data })
            : error;
        }),
    // It subscribes by itself.
    listen: async () => async () => {},
    close: () => client.close(),
  };
}
