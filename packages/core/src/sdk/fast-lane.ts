import { RpcError } from '../errors.js';
import { isJsonObject, type JsonObject } from '../json.js';
import type { JsonRpcMessage, JsonRpcNotification, JsonRpcResponse } from '../json-rpc.js';
import { META, MODERN_PROTOCOL_VERSION } from '../protocol.js';
import type { RpcContext, RpcResult } from '../rpc.js';
import type { RpcService } from '../service.js';
import { toWireError, type WireError } from '../wire.js';
import type { Connection } from './connection.js';
import { LOG_LEVELS, type ModernRequest, readModernRequest } from './modern-request.js';
import { toModernResult } from './modern-result.js';
import { argumentHeadersAgree, headersAgree, type RequestHeaders } from './parameter-headers.js';
import { answerBySdk } from './sdk-answer.js';
import { traceOf } from './trace.js';

/** The answer to a request. */
export interface LaneAnswer {
  /** The JSON-RPC response. */
  readonly text: string;
  /** The HTTP status, where the message is all there is to send. */
  readonly httpStatus: number;
  /** Of a failed request. */
  readonly failure?: WireError;
}

/** What the lane needs of whatever carries a request. */
export interface LaneCarrier {
  /** Sends a notification that belongs to the request. */
  notify(message: JsonRpcNotification): Promise<void>;
}

/** A request being answered. */
export interface LaneCall {
  /** Resolves with what to send; with `undefined` when the call was cancelled, at once. */
  readonly answer: Promise<LaneAnswer | undefined>;
  /** Aborts the handler's signal. */
  cancel(reason: Error): void;
}

/**
 * Takes modern requests straight to a service's handler, without an SDK server, and does around it what that one
 * does. It takes those only of which that is certain: whatever else a message may be is left to the SDK, before anything
 * has happened, and so is the wording of every refusal. A handler's result with parts the lane does not know is put into
 * the answer by the SDK too.
 */
export class FastLane {
  readonly #service: RpcService;

  constructor(service: RpcService) {
    this.#service = service;
  }

  /**
   * The request, if it is one for the lane. Does nothing with it.
   *
   * @param headers - of the HTTP request. Absent where messages have none.
   */
  admit(message: JsonRpcMessage, connection: Connection, headers?: RequestHeaders): ModernRequest | undefined {
    const request = readModernRequest(message);
    if (request === undefined) return undefined;
    const { capability } = request.method;
    if (capability !== undefined && this.#service.info.capabilities[capability] === undefined) return undefined;
    if (headers === undefined) return request;
    if (!headersAgree(request, headers)) return undefined;
    if (request.method.name !== 'tools/call') return request;
    const { name, arguments: args } = request.params;
    const schema = this.#service.toolInputSchema?.(name as string, connection);
    return schema === undefined || argumentHeadersAgree(schema, args, headers) ? request : undefined;
  }

  /**
   * Asks the service.
   *
   * @param controller - of the signal that the handler gets.
   */
  call(request: ModernRequest, connection: Connection, carrier: LaneCarrier, controller = new AbortController()): LaneCall {
    let cancel: LaneCall['cancel'] = () => {};
    const answer = new Promise<LaneAnswer | undefined>((resolve) => {
      cancel = (reason) => {
        // First: what the handler makes of the signal is no answer any more.
        resolve(undefined);
        controller.abort(reason);
      };
      void this.#answer(request, connection, carrier, controller.signal).then(resolve);
    });
    return { answer, cancel };
  }

  /** Never rejects. */
  async #answer(request: ModernRequest, connection: Connection, carrier: LaneCarrier, signal: AbortSignal): Promise<LaneAnswer> {
    const { message, params } = request;
    let result: RpcResult;
    try {
      result =
        message.method === 'server/discover'
          ? this.#discovered()
          : await this.#service.handler({ method: message.method, params }, this.#context(request, connection, carrier, signal));
    } catch (error) {
      return this.#failed(request, error);
    }
    try {
      const text = toModernResult(message.method, result, this.#service.info);
      if (text !== undefined) return succeeded(message.id, text);
      return await this.#bySdk(request, () => Promise.resolve(result));
    } catch (cause) {
      return this.#failed(request, new RpcError('internal_error', 'Internal error', { cause }));
    }
  }

  #failed(request: ModernRequest, error: unknown): LaneAnswer | Promise<LaneAnswer> {
    const failure = toWireError(error);
    // Two numbers that the SDK does not let pass in this era.
    if (failure.code === -32042 || failure.code === -32002 || !Number.isSafeInteger(failure.code)) {
      return this.#bySdk(request, () => Promise.reject(error as Error), failure);
    }
    const { code, message, data } = failure;
    const { id } = request.message;
    return answered({ jsonrpc: '2.0', id, error: { code, message, ...(data === undefined ? {} : { data }) } }, failure);
  }

  async #bySdk({ message }: ModernRequest, outcome: () => Promise<RpcResult>, failure?: WireError): Promise<LaneAnswer> {
    return answered(await answerBySdk(this.#service.info, message, outcome), failure);
  }

  #discovered(): JsonObject {
    const { capabilities, instructions } = this.#service.info;
    const { tasks: _tasks, ...shown } = capabilities;
    for (const name of LISTED) {
      const capability = shown[name];
      if (isJsonObject(capability)) shown[name] = { ...capability, listChanged: capability.listChanged ?? true };
    }
    return {
      supportedVersions: [MODERN_PROTOCOL_VERSION],
      capabilities: shown,
      ...(instructions === undefined || instructions === '' ? {} : { instructions }),
    };
  }

  #context({ message, meta }: ModernRequest, connection: Connection, carrier: LaneCarrier, signal: AbortSignal): RpcContext {
    const clientInfo = meta[META.clientInfo];
    const logLevel = meta[META.logLevel];
    const trace = traceOf(meta);
    const { addResponseHeader, remoteAddress } = connection;
    const context: { -readonly [Name in keyof RpcContext]: RpcContext[Name] } = {
      principal: connection.principal,
      transport: connection.transport,
      protocolVersion: MODERN_PROTOCOL_VERSION,
      signal,
      requestId: message.id,
      clientCapabilities: meta[META.clientCapabilities] as JsonObject,
      notify: (method, params) => this.#notify(method, params, logLevel, carrier),
    };
    // Spreading what may be absent costs more than the rest of this together.
    if (clientInfo !== undefined) context.clientInfo = clientInfo as JsonObject;
    if (remoteAddress !== undefined) context.remoteAddress = remoteAddress;
    if (trace !== undefined) context.trace = trace;
    if (logLevel !== undefined) context.logLevel = logLevel as string;
    if (addResponseHeader !== undefined) context.addResponseHeader = addResponseHeader;
    return context;
  }

  async #notify(method: string, params: JsonObject, wanted: unknown, carrier: LaneCarrier): Promise<void> {
    const { capabilities } = this.#service.info;
    if (method === 'notifications/message') {
      if (capabilities.logging === undefined || wanted === undefined) return;
      if (LOG_LEVELS.includes(params.level) && LOG_LEVELS.indexOf(params.level) < LOG_LEVELS.indexOf(wanted)) return;
      const { level, data, logger } = params;
      await carrier.notify({ jsonrpc: '2.0', method, params: { level, data, logger } });
      return;
    }
    const needed = NEEDED_CAPABILITY.get(method);
    if (LEGACY_NOTIFICATIONS.has(method) || (needed !== undefined && capabilities[needed] === undefined)) {
      throw new RpcError('internal_error', `The notification ${method} cannot be sent here`);
    }
    await carrier.notify({ jsonrpc: '2.0', method, params });
  }
}

/** Capabilities that the SDK's server says it tells changes of, unless told otherwise. */
const LISTED = ['tools', 'resources', 'prompts'] as const;

/** Notifications that 2026-07-28 has not. */
const LEGACY_NOTIFICATIONS: ReadonlySet<string> = new Set([
  'notifications/initialized',
  'notifications/roots/list_changed',
  'notifications/tasks/status',
  'notifications/elicitation/complete',
]);

const NEEDED_CAPABILITY: ReadonlyMap<string, string> = new Map([
  ['notifications/resources/updated', 'resources'],
  ['notifications/resources/list_changed', 'resources'],
  ['notifications/tools/list_changed', 'tools'],
  ['notifications/prompts/list_changed', 'prompts'],
]);

/** @param result - as JSON. */
function succeeded(id: string | number, result: string): LaneAnswer {
  const text = `{"result":${result},"jsonrpc":"2.0","id":${typeof id === 'number' ? id : JSON.stringify(id)}}`;
  return { text, httpStatus: 200 };
}

function answered(message: JsonRpcResponse, failure?: WireError): LaneAnswer {
  const code = message.error?.code;
  const otherwise = code === -32021 ? 400 : 200;
  const httpStatus = failure === undefined || failure.httpStatus === 200 ? otherwise : failure.httpStatus;
  return { text: JSON.stringify(message), httpStatus, ...(failure === undefined ? {} : { failure }) };
}
