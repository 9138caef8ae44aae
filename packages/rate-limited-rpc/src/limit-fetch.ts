import {
  isJsonObject,
  isJsonRpcRequest,
  type JsonObject,
  JsonRpcParseError,
  LEGACY_PROTOCOL_VERSION,
  META,
  MODERN_PROTOCOL_VERSION,
  type Principal,
  parseJsonRpc,
  type RpcContext,
  RpcError,
  toWireError,
} from '@mcp-blocks/core';
import type { RateLimitedRPC } from './rate-limited-rpc.js';

/** Who sends a request, as far as its limits ask. */
export interface FetchIdentity {
  readonly principal: Principal;
  readonly remoteAddress?: string;
}

/** Options of {@link limitFetch}. */
export interface LimitFetchOptions {
  /** Largest request body read, in bytes; a positive integer. Larger ones are answered with 413. Default: 4 MiB. */
  readonly maxBodyBytes?: number;
}

const MAX_JSON_DEPTH = 64;

/**
 * Puts a limiter in front of an MCP endpoint that is a function from web requests to web responses, such
 * as `createMcpHandler(…).fetch` of the SDK. Requests that carry no JSON-RPC request pass as they are;
 * text that is no JSON-RPC message, batches too, is answered with 400.
 *
 * A call has failed when its status is 400 or more, or its JSON body has `error` or `result.isError`; it
 * ends when its response has been sent or given up.
 */
export function limitFetch<Rest extends unknown[]>(
  fetch: (request: Request, ...rest: Rest) => Promise<Response>,
  limiter: RateLimitedRPC,
  identify: (request: Request) => FetchIdentity | Promise<FetchIdentity>,
  { maxBodyBytes = 4 * 1024 * 1024 }: LimitFetchOptions = {},
): (request: Request, ...rest: Rest) => Promise<Response> {
  return async (request, ...rest) => {
    if (request.method !== 'POST' || request.body === null) return fetch(request, ...rest);
    let id: string | number | null = null;
    let passed = false;
    try {
      const body = await readBody(request, maxBodyBytes);
      const message = parseJsonRpc(body, { maxJsonDepth: MAX_JSON_DEPTH });
      const again = new Request(request, { body });
      if (!isJsonRpcRequest(message)) {
        passed = true;
        return await fetch(again, ...rest);
      }
      id = message.id;
      const added = new Headers();
      const addResponseHeader = (name: string, value: string) => added.append(name, value);
      const context = { ...contextOf(message.params, id, await identify(request), request.signal), addResponseHeader };
      return await new Promise<Response>((resolve, reject) => {
        const call = limiter.middleware(async () => {
          passed = true;
          const { sent, failed } = observed(await fetch(again, ...rest));
          resolve(withHeaders(sent, added));
          return { isError: await failed };
        });
        call({ method: message.method, params: message.params ?? {} }, context).catch(reject);
      });
    } catch (error) {
      // What the endpoint itself throws is its own business.
      if (passed || !(error instanceof RpcError)) throw error;
      return refused(error, error instanceof JsonRpcParseError ? error.id : id);
    }
  };
}

function withHeaders(response: Response, added: Headers): Response {
  const headers = new Headers(response.headers);
  for (const [name, value] of added) headers.set(name, value);
  return new Response(response.body, { status: response.status, statusText: response.statusText, headers });
}

async function readBody(request: Request, maxBytes: number): Promise<string> {
  // One block that grows: of a body that comes byte by byte, as many small arrays would take a hundred times its size.
  let block = new Uint8Array(4096);
  let bytes = 0;
  const reader = (request.body as ReadableStream<Uint8Array>).getReader();
  for (let next = await reader.read(); !next.done; next = await reader.read()) {
    const { value } = next;
    if (bytes + value.byteLength > maxBytes) {
      await reader.cancel().catch(() => {});
      throw new RpcError('payload_too_large', `The body is larger than ${maxBytes} bytes`);
    }
    if (bytes + value.byteLength > block.byteLength) {
      const larger = new Uint8Array(Math.max(bytes + value.byteLength, 2 * block.byteLength));
      larger.set(block.subarray(0, bytes));
      block = larger;
    }
    block.set(value, bytes);
    bytes += value.byteLength;
  }
  return new TextDecoder().decode(block.subarray(0, bytes));
}

function contextOf(
  params: JsonObject | undefined,
  requestId: string | number,
  { principal, remoteAddress }: FetchIdentity,
  signal: AbortSignal,
): RpcContext {
  const meta = isJsonObject(params?._meta) ? params._meta : {};
  const version = meta[META.protocolVersion];
  return {
    principal,
    transport: 'http',
    protocolVersion:
      META.protocolVersion in meta ? (typeof version === 'string' ? version : MODERN_PROTOCOL_VERSION) : LEGACY_PROTOCOL_VERSION,
    signal,
    requestId,
    notify: () => Promise.resolve(),
    ...(remoteAddress === undefined ? {} : { remoteAddress }),
  };
}

/** The response to send on, and whether the call failed once it has been sent. */
function observed(response: Response): { sent: Response; failed: Promise<boolean> } {
  const refusedByStatus = response.status >= 400;
  if (response.body === null) return { sent: response, failed: Promise.resolve(refusedByStatus) };
  const isJson = /^application\/json\b/i.test(response.headers.get('content-type') ?? '');
  const decoder = new TextDecoder();
  const reader = response.body.getReader();
  let text = '';
  let end: (failed: boolean) => void = () => {};
  const failed = new Promise<boolean>((resolve) => (end = resolve));
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      try {
        const { done, value } = await reader.read();
        if (done) {
          end(refusedByStatus || (isJson && saysFailure(text + decoder.decode())));
          controller.close();
        } else {
          if (isJson) text += decoder.decode(value, { stream: true });
          controller.enqueue(value);
        }
      } catch (error) {
        end(true);
        controller.error(error);
      }
    },
    cancel(reason) {
      end(true);
      return reader.cancel(reason);
    },
  });
  const { status, statusText, headers } = response;
  return { sent: new Response(body, { status, statusText, headers }), failed };
}

function saysFailure(text: string): boolean {
  try {
    const answer: unknown = JSON.parse(text);
    return isJsonObject(answer) && (answer.error !== undefined || (isJsonObject(answer.result) && answer.result.isError === true));
  } catch {
    return true;
  }
}

function refused(error: RpcError, id: string | number | null): Response {
  const { code, message, data, httpStatus, headers } = toWireError(error);
  return Response.json(
    { jsonrpc: '2.0', id, error: { code, message, ...(data === undefined ? {} : { data }) } },
    { status: httpStatus === 200 ? 500 : httpStatus, headers },
  );
}
