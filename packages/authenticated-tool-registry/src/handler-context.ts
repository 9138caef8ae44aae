import { eraOf, isJsonObject, type JsonObject, type JsonValue, type RpcContext, RpcError } from '@mcp-blocks/core';

/** The log levels of RFC 5424, least severe first. */
const LEVELS = ['debug', 'info', 'notice', 'warning', 'error', 'critical', 'alert', 'emergency'] as const;

/** A log level of RFC 5424. */
export type LogLevel = (typeof LEVELS)[number];

/** What tools, resource readers and prompts are called with, beside their arguments. */
export interface HandlerContext extends RpcContext {
  /**
   * The client's answers to the requests of an earlier `input_required` result, by the keys used there.
   * From the client: check before use.
   */
  readonly inputResponses?: JsonObject;
  /**
   * The state an earlier `input_required` result asked the client to keep. With the registry's
   * `requestState` option it is the JSON value that result had, and it is known to be unchanged, of this
   * caller and of this request. Without, it is a string from the client that may be anything.
   */
  readonly requestState?: JsonValue;
  /** Reports progress to a caller who asked for it; does nothing otherwise, nor after the handler has ended. */
  progress(progress: number, total?: number, message?: string): Promise<void>;
  /**
   * Sends a log message to the caller at or above the level the caller wants. Does nothing unless the
   * registry declares the `logging` capability, nor after the handler has ended.
   */
  log(level: LogLevel, data: JsonValue): Promise<void>;
}

/** A {@link HandlerContext} and the switch that ends its notifications. */
export interface OpenContext {
  readonly context: HandlerContext;
  close(): void;
}

/** @throws RpcError `invalid_params` when `inputResponses` or `requestState` are not of their type. */
export function handlerContext(context: RpcContext, params: JsonObject, logging: boolean): OpenContext {
  const { inputResponses, requestState } = params;
  if (inputResponses !== undefined && !isJsonObject(inputResponses))
    throw new RpcError('invalid_params', 'inputResponses: expected an object');
  if (requestState !== undefined && typeof requestState !== 'string')
    throw new RpcError('invalid_params', 'requestState: expected a string');
  const token = isJsonObject(params._meta) ? params._meta.progressToken : undefined;
  let open = true;
  return {
    context: {
      ...context,
      notify: async (method, notification) => {
        if (open) await context.notify(method, notification);
      },
      ...(inputResponses === undefined ? {} : { inputResponses }),
      ...(requestState === undefined ? {} : { requestState }),
      async progress(progress, total, message) {
        if (!open || (typeof token !== 'string' && typeof token !== 'number')) return;
        await context.notify('notifications/progress', { progressToken: token, progress, total, message });
      },
      async log(level, data) {
        if (open && logging && wantsLog(context, level)) await context.notify('notifications/message', { level, data });
      },
    },
    close: () => {
      open = false;
    },
  };
}

function wantsLog({ protocolVersion, logLevel }: RpcContext, level: LogLevel): boolean {
  // The legacy era's level belongs to the session (`logging/setLevel`); its listener filters by it.
  if (logLevel === undefined) return eraOf(protocolVersion) === 'legacy';
  return LEVELS.indexOf(level) >= LEVELS.indexOf(logLevel as LogLevel);
}
