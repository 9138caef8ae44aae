import { isJsonObject, type JsonObject, type JsonValue } from '../json.js';
import { MODERN_PROTOCOL_VERSION } from '../protocol.js';
import type { ModernRequest } from './modern-request.js';

/** Request headers by lower-case name, as Node has them. */
export type RequestHeaders = Readonly<Record<string, string | readonly string[] | undefined>>;

/** A value that is not itself: base64 of one that no header can hold. */
const SENTINEL = '=?base64?';

/**
 * Whether the headers say, letter by letter, what the body says (MCP 2026-07-28, transports/streamable-http, "Standard
 * MCP Request Headers"). False for those that may say the same otherwise, too.
 */
export function headersAgree({ message, method, params }: ModernRequest, headers: RequestHeaders): boolean {
  if (headers['mcp-protocol-version'] !== MODERN_PROTOCOL_VERSION || headers['mcp-method'] !== message.method) return false;
  if (method.named === undefined) return true;
  const name = headers['mcp-name'];
  return typeof name === 'string' && name === params[method.named] && !name.startsWith(SENTINEL);
}

/** What of a tool's arguments is repeated in `Mcp-Param-*` headers. */
interface Declaration {
  readonly path: readonly string[];
  /** In lower case. */
  readonly header: string;
}

/** What the input schemas looked at so far declare; `undefined` for one that is hard to tell. */
const KNOWN = new WeakMap<JsonObject, readonly Declaration[] | undefined>();

/** {@link headersAgree} for the arguments of a tool with this input schema ("Custom Headers from Tool Parameters"). */
export function argumentHeadersAgree(inputSchema: JsonObject, args: JsonValue | undefined, headers: RequestHeaders): boolean {
  if (!KNOWN.has(inputSchema)) KNOWN.set(inputSchema, declarations(inputSchema));
  const declared = KNOWN.get(inputSchema);
  return declared?.every(({ path, header }) => valueAgrees(at(args, path), headers[header])) === true;
}

function valueAgrees(value: JsonValue | undefined, header: unknown): boolean {
  if (value === undefined || value === null) return true;
  const plain = typeof value === 'string' || typeof value === 'boolean' || Number.isSafeInteger(value);
  return plain && String(value) === header && !String(value).startsWith(SENTINEL);
}

function at(value: JsonValue | undefined, path: readonly string[]): JsonValue | undefined {
  let found = value;
  for (const name of path) found = isJsonObject(found) && Object.hasOwn(found, name) ? found[name] : undefined;
  return found;
}

const HEADER_KEY = 'x-mcp-header';
/** RFC 9110, section 5.6.2. */
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const PRIMITIVES: readonly unknown[] = ['string', 'integer', 'boolean'];

/** The declarations that are reached through `properties` alone, if they are all there are and none is wrong. */
function declarations(schema: JsonObject): readonly Declaration[] | undefined {
  const found: Declaration[] = [];
  const visit = (node: JsonValue | undefined, path: readonly string[]): boolean => {
    if (!isJsonObject(node)) return true;
    if (Object.hasOwn(node, HEADER_KEY)) {
      const name = node[HEADER_KEY];
      if (typeof name !== 'string' || !TOKEN.test(name) || path.length === 0 || !PRIMITIVES.includes(node['type'])) return false;
      found.push({ path, header: `mcp-param-${name.toLowerCase()}` });
    }
    const { properties } = node;
    return !isJsonObject(properties) || Object.entries(properties).every(([name, child]) => visit(child, [...path, name]));
  };
  const valid = visit(schema, []) && new Set(found.map(({ header }) => header)).size === found.length;
  return valid && occurrences(schema) === found.length ? found : undefined;
}

function occurrences(value: JsonValue | undefined): number {
  if (typeof value !== 'object' || value === null) return 0;
  const own = Object.hasOwn(value, HEADER_KEY) ? 1 : 0;
  return Object.values(value).reduce((sum: number, child) => sum + occurrences(child), own);
}
