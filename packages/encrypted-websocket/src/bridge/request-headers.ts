import { eraOf, isJsonObject, type JsonObject, META } from '@mcp-blocks/core';
import { encodeHeaderValue, type ParameterHeaders } from './parameter-headers.js';

const NAME_MEMBERS: Readonly<Record<string, string>> = { 'tools/call': 'name', 'prompts/get': 'name', 'resources/read': 'uri' };

/** What the headers of a message are made from. */
interface Message {
  readonly method: string;
  readonly params?: JsonObject;
}

/** Whether a message carries the envelope of the modern era. */
export function isModern({ params = {} }: Message): boolean {
  const version = metaOf(params)[META.protocolVersion];
  // It becomes a header, too.
  return typeof version === 'string' && /^[\x21-\x7e]+$/.test(version) && eraOf(version) === 'modern';
}

/** The headers a message of the modern era carries (2026-07-28, basic/transports/streamable-http, "Request Metadata"). */
export function modernHeaders({ method, params = {} }: Message, parameters: ParameterHeaders): Record<string, string> {
  const name = params[NAME_MEMBERS[method] ?? ''];
  return {
    'mcp-protocol-version': String(metaOf(params)[META.protocolVersion]),
    'mcp-method': encodeHeaderValue(method),
    ...(typeof name === 'string' ? { 'mcp-name': encodeHeaderValue(name) } : {}),
    ...(method === 'tools/call' ? parameters.of(params) : {}),
  };
}

function metaOf(params: JsonObject): JsonObject {
  return isJsonObject(params._meta) ? params._meta : {};
}
