import { isJsonObject, type JsonObject } from '../json.js';
import { META } from '../protocol.js';
import type { RpcResult } from '../rpc.js';
import type { ServiceInfo } from '../service.js';

/** Results that say how long they may be kept (MCP 2026-07-28, basic/caching). */
const CACHEABLE: ReadonlySet<string> = new Set([
  'server/discover',
  'tools/list',
  'prompts/list',
  'resources/list',
  'resources/templates/list',
  'resources/read',
]);

/** What frozen results came to. */
const TEXTS = new WeakMap<RpcResult, { readonly method: string; readonly identity: string; readonly text: string }>();

/**
 * The result as the wire of 2026-07-28 has it, as JSON: with `resultType`, the server's identity and, where results are
 * cacheable, for how long. `undefined` for a result that the SDK would look at more closely, change or refuse.
 *
 * A frozen result is taken for one that never changes, however deep, and written once.
 */
export function toModernResult(method: string, result: RpcResult, info: ServiceInfo): string | undefined {
  const identity = identityOf(info);
  const known = TEXTS.get(result);
  if (known !== undefined && known.method === method && known.identity === identity) return known.text;
  const text = written(method, result, identity);
  if (text !== undefined && Object.isFrozen(result)) TEXTS.set(result, { method, identity, text });
  return text;
}

function written(method: string, result: RpcResult, identity: string): string | undefined {
  if (!isJsonObject(result)) return undefined;
  const { resultType, _meta: meta } = result;
  if (resultType !== undefined && resultType !== 'complete') return undefined;
  if (meta !== undefined && (!isJsonObject(meta) || meta[META.serverInfo] !== undefined || Object.hasOwn(meta, '__proto__')))
    return undefined;
  if (method === 'tools/call' ? !isPlainToolResult(result) : hasDeletedMembers(method, result)) return undefined;
  const wire: JsonObject = { ...result, resultType: 'complete', _meta: undefined };
  if (CACHEABLE.has(method)) {
    const { ttlMs, cacheScope } = result;
    wire.ttlMs = Number.isSafeInteger(ttlMs) && (ttlMs as number) >= 0 ? ttlMs : 0;
    wire.cacheScope = cacheScope === 'public' || cacheScope === 'private' ? cacheScope : 'private';
  }
  const members = JSON.stringify(wire).slice(0, -1);
  if (meta === undefined) return `${members},"_meta":{${identity}}}`;
  const rest = JSON.stringify(meta).slice(1, -1);
  return `${members},"_meta":{${rest === '' ? '' : `${rest},`}${identity}}}`;
}

const IDENTITIES = new WeakMap<ServiceInfo, string>();

/** The member of `_meta` by which the server says who it is. */
function identityOf(info: ServiceInfo): string {
  const known = IDENTITIES.get(info);
  if (known !== undefined) return known;
  const { capabilities: _capabilities, instructions: _instructions, ...implementation } = info;
  const identity = `${JSON.stringify(META.serverInfo)}:${JSON.stringify(implementation)}`;
  IDENTITIES.set(info, identity);
  return identity;
}

const TOOL_RESULT: ReadonlySet<string> = new Set(['content', 'structuredContent', 'isError', '_meta', 'resultType']);

/** Blocks of text with nothing more to them, and what needs no look. */
function isPlainToolResult(result: RpcResult): boolean {
  const { content, isError } = result;
  if (!Array.isArray(content) || (isError !== undefined && typeof isError !== 'boolean')) return false;
  for (const name in result) if (!TOOL_RESULT.has(name)) return false;
  for (const block of content) {
    if (!isJsonObject(block) || block['type'] !== 'text' || typeof block['text'] !== 'string') return false;
    for (const name in block) if (name !== 'type' && name !== 'text') return false;
  }
  return true;
}

/** Members that 2026-07-28 has not, and the SDK takes out. */
function hasDeletedMembers(method: string, { capabilities, tools }: RpcResult): boolean {
  if (capabilities !== undefined && method !== 'server/discover') return true;
  return method === 'tools/list' && Array.isArray(tools) && tools.some((tool) => isJsonObject(tool) && 'execution' in tool);
}
