import { RpcError } from './errors.js';
import { isJsonObject, type JsonObject, type JsonValue } from './json.js';

/** A JSON-RPC 2.0 request as MCP restricts it: the id is a string or an integer, never `null`. */
export interface JsonRpcRequest {
  readonly jsonrpc: '2.0';
  readonly id: string | number;
  readonly method: string;
  readonly params?: JsonObject;
}

/** A JSON-RPC 2.0 notification. */
export interface JsonRpcNotification {
  readonly jsonrpc: '2.0';
  readonly method: string;
  readonly params?: JsonObject;
}

/** A JSON-RPC 2.0 response: exactly one of `result` and `error`. */
export interface JsonRpcResponse {
  readonly jsonrpc: '2.0';
  readonly id: string | number;
  readonly result?: JsonObject;
  readonly error?: { readonly code: number; readonly message: string; readonly data?: JsonValue };
}

export type JsonRpcMessage = JsonRpcRequest | JsonRpcNotification | JsonRpcResponse;

/** Bounds of {@link parseJsonRpc}. */
export interface JsonRpcLimits {
  /** Deepest nesting of objects and arrays, the message itself being 1. */
  readonly maxJsonDepth: number;
}

/** Where a refused message had a usable id, so that the error response can carry it. */
export class JsonRpcParseError extends RpcError {
  readonly id: string | number | null;

  constructor(code: 'parse_error' | 'invalid_request', message: string, id: string | number | null = null) {
    super(code, message);
    this.id = id;
  }
}

/**
 * Parses one JSON-RPC message and checks its envelope.
 *
 * @throws JsonRpcParseError `parse_error` (-32700) for text that is not JSON or is nested too deep,
 * `invalid_request` (-32600) for JSON that is not one JSON-RPC 2.0 message. Batch arrays, dropped from
 * MCP in 2025-06-18, are refused.
 */
export function parseJsonRpc(text: string, limits: JsonRpcLimits): JsonRpcMessage {
  // Before JSON.parse: a deep document must not be built at all.
  if (exceedsDepth(text, limits.maxJsonDepth)) {
    throw new JsonRpcParseError('parse_error', `The message is nested deeper than ${limits.maxJsonDepth} levels`);
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new JsonRpcParseError('parse_error', 'The message is not valid JSON');
  }
  return checkJsonRpc(value);
}

/** Checks the envelope of an already parsed message. Throws as {@link parseJsonRpc} does. */
export function checkJsonRpc(value: unknown): JsonRpcMessage {
  if (Array.isArray(value)) {
    throw new JsonRpcParseError('invalid_request', 'Batch arrays are not part of MCP; send one message at a time');
  }
  if (!isJsonObject(value)) throw new JsonRpcParseError('invalid_request', 'A JSON-RPC message is a JSON object');
  const { id, jsonrpc, method, params } = value;
  const usableId = typeof id === 'string' || (typeof id === 'number' && Number.isInteger(id)) ? id : null;
  const refuse = (message: string) => new JsonRpcParseError('invalid_request', message, usableId);
  if (jsonrpc !== '2.0') throw refuse("jsonrpc: expected '2.0'");
  if ('id' in value && usableId === null) throw refuse('id: expected a string or an integer');
  if (method === undefined) {
    if (usableId === null || 'result' in value === 'error' in value) {
      throw refuse('method: expected a string (or, in a response, an id with either result or error)');
    }
    if ('result' in value ? !isJsonObject(value.result) : !isErrorObject(value.error)) {
      throw refuse("A response holds an object as 'result', or an 'error' with code and message");
    }
    return value as unknown as JsonRpcResponse;
  }
  if (typeof method !== 'string') throw refuse('method: expected a string');
  if (params !== undefined && !isJsonObject(params)) throw refuse('params: expected an object');
  if (params?._meta !== undefined && !isJsonObject(params._meta)) throw refuse('params._meta: expected an object');
  return value as unknown as JsonRpcRequest | JsonRpcNotification;
}

export function isJsonRpcRequest(message: JsonRpcMessage): message is JsonRpcRequest {
  return 'method' in message && 'id' in message;
}

function isErrorObject(error: unknown): boolean {
  return isJsonObject(error) && Number.isInteger(error.code) && typeof error.message === 'string';
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/** Whether brackets outside of strings nest deeper than `max`. One pass, no allocation. */
function exceedsDepth(text: string, max: number): boolean {
  let depth = 0;
  for (let i = 0; i < text.length; i += 1) {
    const c = text.charCodeAt(i);
    if (c === QUOTE) {
      i = endOfString(text, i + 1);
    } else if (c === 0x7b || c === 0x5b) {
      depth += 1;
      if (depth > max) return true;
    } else if (c === 0x7d || c === 0x5d) {
      depth -= 1;
    }
  }
  return false;
}

/** Characters of a string that are looked at one by one; the engine's own search is faster for long ones only. */
const SHORT_STRING = 64;

/** Where the string that starts at `start` has its closing quote; the text's length if it has none. */
function endOfString(text: string, start: number): number {
  let i = start;
  for (const end = Math.min(text.length, start + SHORT_STRING); i < end; i += 1) {
    const c = text.charCodeAt(i);
    if (c === BACKSLASH) i += 1;
    else if (c === QUOTE) return i;
  }
  while (i < text.length) {
    const quote = text.indexOf('"', i);
    if (quote < 0) return text.length;
    let backslashes = 0;
    while (quote - backslashes > i && text.charCodeAt(quote - backslashes - 1) === BACKSLASH) backslashes += 1;
    if (backslashes % 2 === 0) return quote;
    i = quote + 1;
  }
  return text.length;
}
