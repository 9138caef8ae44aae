import { isJsonObject, type JsonObject, type JsonValue } from '../json.js';
import { isJsonRpcRequest, type JsonRpcMessage, type JsonRpcRequest } from '../json-rpc.js';
import { META, MODERN_PROTOCOL_VERSION } from '../protocol.js';

/** A request of the modern era whose every part is known to be as MCP 2026-07-28 has it. */
export interface ModernRequest {
  readonly message: JsonRpcRequest;
  readonly method: ModernMethod;
  /** As handlers get them: without the envelope. */
  readonly params: JsonObject;
  /** What was sent as `_meta`, the envelope included. */
  readonly meta: JsonObject;
}

type Check = (value: JsonValue | undefined) => boolean;

/** A method as far as requests for it are known. */
export interface ModernMethod {
  readonly name: string;
  /** What a service must declare to be asked. Absent: nothing. */
  readonly capability?: 'tools' | 'resources' | 'prompts' | 'completions';
  /** The member of `params` that the header `Mcp-Name` repeats (MCP 2026-07-28, transports/streamable-http). */
  readonly named?: 'name' | 'uri';
  readonly required: readonly string[];
  readonly members: ReadonlyMap<string, Check>;
}

const isText = (value: JsonValue | undefined) => typeof value === 'string';
const isId = (value: JsonValue | undefined) => typeof value === 'string' || Number.isSafeInteger(value);
/** Where a member of this name is copied, it can become a prototype. */
const isMap = (value: JsonValue | undefined): value is JsonObject => isJsonObject(value) && !Object.hasOwn(value, '__proto__');
const isTextMap = (value: JsonValue | undefined) => isMap(value) && Object.values(value).every(isText);
const isOf = (value: JsonValue | undefined, members: readonly string[]): value is JsonObject =>
  isJsonObject(value) && Object.keys(value).length === members.length && members.every((name) => isText(value[name]));

const LIST = { required: [], members: new Map<string, Check>([['cursor', isText]]) };

const METHODS: ReadonlyMap<string, ModernMethod> = new Map(
  (
    [
      { name: 'server/discover', required: [], members: new Map<string, Check>() },
      { name: 'tools/list', capability: 'tools', ...LIST },
      { name: 'resources/list', capability: 'resources', ...LIST },
      { name: 'resources/templates/list', capability: 'resources', ...LIST },
      { name: 'prompts/list', capability: 'prompts', ...LIST },
      {
        name: 'tools/call',
        capability: 'tools',
        named: 'name',
        required: ['name'],
        members: new Map<string, Check>([
          ['name', isText],
          ['arguments', isMap],
        ]),
      },
      {
        name: 'prompts/get',
        capability: 'prompts',
        named: 'name',
        required: ['name'],
        members: new Map<string, Check>([
          ['name', isText],
          ['arguments', isTextMap],
        ]),
      },
      {
        name: 'resources/read',
        capability: 'resources',
        named: 'uri',
        required: ['uri'],
        members: new Map<string, Check>([['uri', isText]]),
      },
      {
        name: 'completion/complete',
        capability: 'completions',
        required: ['ref', 'argument'],
        members: new Map<string, Check>([
          ['ref', isReference],
          ['argument', (value: JsonValue | undefined) => isOf(value, ['name', 'value'])],
        ]),
      },
    ] satisfies readonly ModernMethod[]
  ).map((method) => [method.name, method]),
);

/**
 * Reads a request as the SDK would before it calls a handler. `undefined` for whatever is not certain to pass there
 * unchanged: other eras and methods, unknown members, answers to `input_required`, and every mistake. Looks at
 * everything and does nothing.
 */
export function readModernRequest(message: JsonRpcMessage): ModernRequest | undefined {
  if (!isJsonRpcRequest(message) || !isId(message.id)) return undefined;
  const method = METHODS.get(message.method);
  const { params } = message;
  if (method === undefined || params === undefined || !hasOnly(message, ENVELOPE)) return undefined;
  const meta = params['_meta'];
  if (!isJsonObject(meta) || !isModernEnvelope(meta)) return undefined;
  const own: JsonObject = {};
  for (const name in params) {
    const value = params[name];
    if (name === '_meta') continue;
    if (method.members.get(name)?.(value) !== true) return undefined;
    own[name] = value;
  }
  if (!method.required.every((name) => own[name] !== undefined)) return undefined;
  const rest = withoutEnvelope(meta);
  if (rest !== undefined) own['_meta'] = rest;
  return { message, method, params: own, meta };
}

/** Whether a `_meta` is a complete and valid envelope of 2026-07-28 (basic/index, "_meta"), and holds nothing that is hard to tell. */
export function isModernEnvelope(meta: JsonObject): boolean {
  if (meta[META.protocolVersion] !== MODERN_PROTOCOL_VERSION || !isCapabilities(meta[META.clientCapabilities])) return false;
  for (const name in meta) {
    if (UNCERTAIN.has(name)) return false;
    const check = TYPED.get(name);
    if (check !== undefined && !check(meta[name])) return false;
  }
  return true;
}

const ENVELOPE: ReadonlySet<string> = new Set(['jsonrpc', 'id', 'method', 'params']);
const RESERVED: ReadonlySet<string> = new Set([META.protocolVersion, META.clientInfo, META.clientCapabilities, META.logLevel]);
const UNCERTAIN: ReadonlySet<string> = new Set(['__proto__', 'io.modelcontextprotocol/related-task']);

/** The log levels of RFC 5424, least severe first. */
export const LOG_LEVELS: readonly unknown[] = ['debug', 'info', 'notice', 'warning', 'error', 'critical', 'alert', 'emergency'];

const TYPED: ReadonlyMap<string, Check> = new Map<string, Check>([
  [META.clientInfo, isImplementation],
  [META.logLevel, (value: JsonValue | undefined) => LOG_LEVELS.includes(value)],
  ['progressToken', isId],
]);

function hasOnly(object: object, names: ReadonlySet<string>): boolean {
  for (const name in object) if (!names.has(name)) return false;
  return true;
}

function withoutEnvelope(meta: JsonObject): JsonObject | undefined {
  let rest: JsonObject | undefined;
  for (const name in meta) {
    if (RESERVED.has(name)) continue;
    rest ??= {};
    rest[name] = meta[name];
  }
  return rest;
}

const OPTIONAL_TEXTS = ['title', 'description', 'websiteUrl'];

function isImplementation(value: JsonValue | undefined): boolean {
  if (!isJsonObject(value) || !isText(value['name']) || !isText(value['version']) || value['icons'] !== undefined) return false;
  return OPTIONAL_TEXTS.every((name) => value[name] === undefined || isText(value[name]));
}

function isReference(value: JsonValue | undefined): boolean {
  if (!isJsonObject(value)) return false;
  if (value['type'] === 'ref/prompt') return isOf(value, ['type', 'name']);
  return value['type'] === 'ref/resource' && isOf(value, ['type', 'uri']);
}

/** Which members of a capability are objects; others are none that it has. */
const CAPABILITIES: ReadonlyMap<string, readonly string[]> = new Map([
  ['sampling', ['context', 'tools']],
  ['elicitation', ['form', 'url']],
]);

function isCapabilities(value: JsonValue | undefined): boolean {
  if (!isJsonObject(value)) return false;
  for (const name in value) {
    const capability = value[name];
    const members = CAPABILITIES.get(name);
    if (members !== undefined) {
      if (!isJsonObject(capability)) return false;
      for (const member in capability) {
        const detail = capability[member];
        // With anything in them, it depends.
        if (!members.includes(member) || !isJsonObject(detail) || Object.keys(detail).length > 0) return false;
      }
    } else if (name === 'roots') {
      if (!isJsonObject(capability)) return false;
      if (capability['listChanged'] !== undefined && typeof capability['listChanged'] !== 'boolean') return false;
    } else if (name === 'experimental' || name === 'extensions') {
      if (!isMap(capability) || !Object.values(capability).every(isMap)) return false;
    } else if (name === '__proto__') {
      return false;
    }
  }
  return true;
}
