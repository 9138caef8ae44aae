import type { JsonObject } from '../json.js';
import { eraOf, LEGACY_PROTOCOL_VERSION } from '../protocol.js';
import type { TransportClient, TransportRequestOptions } from './transport-harness.js';

/** A `Client` of the official SDK, v1 or v2, as far as it is used here. */
export interface SdkClient {
  onerror?: ((error: Error) => void) | undefined;
  fallbackNotificationHandler?: ((notification: never) => Promise<void>) | undefined;
  callTool(...args: never[]): Promise<unknown>;
  request(...args: never[]): Promise<unknown>;
  close(): Promise<void>;
  /** Only v2 has it. */
  listen?(filter: { toolsListChanged: true }): Promise<{ close(): Promise<void> }>;
  getNegotiatedProtocolVersion?(): string | undefined;
}

type Send = (...args: unknown[]) => Promise<JsonObject>;

/** A schema that takes any result: a Standard Schema for v2, and what v1 asks of one. */
const ANYTHING = {
  '~standard': { version: 1, vendor: 'mcp-blocks', validate: (value: unknown) => ({ value }) },
  safeParse: (data: unknown) => ({ success: true, data }),
};

/**
 * Makes an SDK client, v1 or v2, the client of {@link transportContract}'s cases. Give it a client that is
 * not yet connected, and register the `elicitation/create` handler yourself: the two versions differ there.
 */
export function sdkTransportClient(client: SdkClient): TransportClient {
  const notifications: string[] = [];
  const errors: Error[] = [];
  client.fallbackNotificationHandler = async ({ method }: { method: string }) => void notifications.push(method);
  client.onerror = (error) => void errors.push(error);
  const call = client.callTool.bind(client) as unknown as Send;
  const send = client.request.bind(client) as unknown as Send;
  const isV2 = client.listen !== undefined;
  return {
    notifications,
    errors,
    request(method, params, options = {}) {
      const how = sdkOptions(options);
      const answer =
        method !== 'tools/call' ? send({ method, params }, ANYTHING, how) : isV2 ? call(params, how) : call(params, undefined, how);
      return answer.catch((error: unknown) => {
        throw errorInBody(error) ?? error;
      });
    },
    async listen() {
      // In the legacy era changes come unasked.
      if (eraOf(client.getNegotiatedProtocolVersion?.() ?? LEGACY_PROTOCOL_VERSION) === 'legacy') return async () => {};
      const subscription = await client.listen?.({ toolsListChanged: true });
      return async () => subscription?.close();
    },
    close: () => client.close(),
  };
}

/** Where an error came with an HTTP status of its own, v2 leaves it in the text of the body. */
function errorInBody(error: unknown): Error | undefined {
  const body = ((error as { data?: unknown }).data as { text?: unknown } | undefined)?.text;
  if (typeof body !== 'string') return undefined;
  try {
    const answer = (JSON.parse(body) as { error?: { code: number; message: string; data?: unknown } }).error;
    return answer === undefined ? undefined : Object.assign(new Error(answer.message), { code: answer.code, data: answer.data });
  } catch {
    return undefined;
  }
}

function sdkOptions({ signal, timeoutMs, onProgress }: TransportRequestOptions) {
  return {
    ...(signal === undefined ? {} : { signal }),
    ...(timeoutMs === undefined ? {} : { timeout: timeoutMs }),
    ...(onProgress === undefined ? {} : { onprogress: onProgress }),
  };
}
