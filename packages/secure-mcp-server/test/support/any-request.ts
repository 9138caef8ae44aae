import type { JsonObject, JsonValue } from '@mcp-blocks/core';
import fc from 'fast-check';
import { ENVELOPE } from './server.js';
import type { Sent } from './two-lanes.js';

const PREFIX = 'io.modelcontextprotocol/';

/** Seven times of eight the first. */
const mostly = <T, U>(usual: fc.Arbitrary<T>, otherwise: fc.Arbitrary<U>): fc.Arbitrary<T | U> =>
  fc.oneof({ weight: 7, arbitrary: usual }, { weight: 1, arbitrary: otherwise });

/** Values that are hardly ever what is wanted. */
const odd: fc.Arbitrary<JsonValue> = fc.constantFrom<JsonValue[]>(
  ...([null, true, 0, -1, 1.5, 1e300, '', 'x', '2026-07-28', '2025-11-25', '=?base64?eA==?=', 'ü', [], ['x'], {}] as JsonValue[]),
  ...([{ a: 1 }, { name: 'x' }, { form: {} }, { form: { a: 1 } }, JSON.parse('{"__proto__":{"a":1}}'), 'complete'] as JsonValue[]),
);

const block: fc.Arbitrary<JsonValue> = fc.oneof(
  fc.constant({ type: 'text', text: 'x' }),
  fc.constantFrom<JsonValue[]>(
    { type: 'text', text: 'x', more: 1 },
    { type: 'text', text: 'x', annotations: { priority: 0.5 }, _meta: { a: 1 } },
    { type: 'text' },
    { type: 'image', data: 'eA==', mimeType: 'image/png' },
    { type: 'image', data: '*', mimeType: 'image/png' },
    { type: 'resource_link', name: 'x', uri: 'x://y' },
    { type: 'resource', resource: { uri: 'x://y', text: 'x' } },
    { type: 'video' },
    'x',
  ),
);

const result: fc.Arbitrary<JsonValue> = fc.oneof(
  fc.record(
    {
      content: fc.oneof(fc.array(block, { maxLength: 3 }), odd),
      isError: fc.oneof(fc.boolean(), odd),
      structuredContent: odd,
      resultType: fc.oneof(fc.constantFrom('complete', 'input_required', 'task'), odd),
      inputRequests: fc.constantFrom<JsonValue[]>(
        { ask: { method: 'elicitation/create', params: { message: 'x', requestedSchema: { type: 'object', properties: {} } } } },
        { ask: { method: 'roots/list' } },
        {},
      ),
      requestState: odd,
      ttlMs: odd,
      cacheScope: fc.oneof(fc.constantFrom('public', 'private'), odd),
      tools: fc.constantFrom<JsonValue[]>([{ name: 'x', execution: {} }], []),
      capabilities: fc.constantFrom<JsonValue[]>({ tasks: {} }, {}),
      _meta: fc.oneof(fc.constantFrom<JsonValue[]>({ a: 1 }, { [`${PREFIX}serverInfo`]: { name: 'me', version: '2' } }), odd),
    },
    { requiredKeys: [] },
  ) as fc.Arbitrary<JsonValue>,
  odd,
);

const error: fc.Arbitrary<JsonValue> = fc.oneof(
  fc.constant('bug'),
  fc.record(
    {
      code: fc.constantFrom('invalid_params', 'internal_error', 'rate_limited', 'forbidden', 'missing_client_capability', 'unavailable'),
      message: fc.constantFrom('No', ''),
      data: fc.constantFrom<JsonValue[]>({ a: 1 }, {}),
      number: fc.constantFrom(-32042, -32002, -32021, 7, 1.5),
      headers: fc.constant({ 'Retry-After': '2', connection: 'close' }),
    },
    { requiredKeys: ['code', 'message'] },
  ),
);

const note = fc.constantFrom<JsonValue[]>(
  { method: 'notifications/progress', params: { progressToken: 1, progress: 1 } },
  { method: 'notifications/message', params: { level: 'info', data: 'x', logger: 'y', more: 1 } },
  { method: 'notifications/message', params: { level: 'error', data: { a: 1 } } },
  { method: 'notifications/message', params: { level: 'loud', data: 1 } },
  { method: 'notifications/tools/list_changed', params: {} },
  { method: 'notifications/resources/updated', params: { uri: 'x' } },
  { method: 'notifications/initialized', params: {} },
  { method: 'notifications/of/mine', params: { a: 1 } },
);

const wanted: fc.Arbitrary<JsonObject> = fc.record(
  {
    text: fc.string(),
    result,
    error,
    notes: fc.array(note, { maxLength: 2 }),
    headers: fc.array(
      fc.constantFrom<JsonValue[]>({ name: 'X-One', value: 'a' }, { name: 'vary', value: 'b' }, { name: 'set-cookie', value: 'c' }),
      { maxLength: 3 },
    ),
    region: mostly(fc.constant('eu'), fc.constantFrom('ü', '=?base64?ZXU=?=')),
    nested: fc.record({ count: mostly(fc.constant(3), fc.constantFrom(4.5, 1e300)) }),
  },
  { requiredKeys: [] },
) as fc.Arbitrary<JsonObject>;

const METHODS: Readonly<Record<string, fc.Arbitrary<JsonObject>>> = {
  'tools/call': fc.record({ name: fc.constantFrom('echo', 'headers'), arguments: wanted }),
  'tools/list': fc.constantFrom({}, { cursor: 'x' }),
  'prompts/get': fc.constantFrom({ name: 'p' }, { name: 'p', arguments: { a: 'b' } }, { name: 'p', arguments: { a: 1 } }),
  'prompts/list': fc.constant({}),
  'resources/list': fc.constant({}),
  'resources/templates/list': fc.constant({}),
  'resources/read': fc.constant({ uri: 'test://x' }),
  'completion/complete': fc.constantFrom<JsonObject[]>(
    { ref: { type: 'ref/prompt', name: 'p' }, argument: { name: 'a', value: 'b' } },
    { ref: { type: 'ref/resource', uri: 'p' }, argument: { name: 'a', value: 'b' }, context: {} },
  ),
  'server/discover': fc.constant({}),
  'subscriptions/listen': fc.constantFrom<JsonObject[]>({ notifications: {} }, {}),
  'resources/subscribe': fc.constant({ uri: 'test://x' }),
  'logging/setLevel': fc.constant({ level: 'info' }),
  'tasks/get': fc.constant({ taskId: 'x' }),
  ping: fc.constant({}),
  initialize: fc.constant({ protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'x', version: '1' } }),
  'notifications/cancelled': fc.constant({ requestId: 1 }),
  'x/extension': fc.constant({ a: 1 }),
};

const method = fc.oneof(fc.constant('tools/call'), fc.constantFrom(...Object.keys(METHODS)));

const meta: fc.Arbitrary<JsonObject> = fc
  .record(
    {
      progressToken: fc.constantFrom<JsonValue[]>(1, 'p', 1.5, null),
      [`${PREFIX}logLevel`]: fc.constantFrom<JsonValue[]>('info', 'error', 'loud'),
      [`${PREFIX}clientCapabilities`]: fc.constantFrom<JsonValue[]>(
        { elicitation: {}, sampling: {}, roots: { listChanged: true }, tasks: 1, other: 2 },
        { elicitation: { form: {}, url: {} }, experimental: { a: {} }, extensions: { b: { c: 1 } } },
        { elicitation: { form: { applyDefaults: true } }, sampling: { tools: {} } },
        { experimental: { a: 1 } },
        { roots: [] },
      ),
      traceparent: fc.constantFrom('00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01', 1),
      'mine/own': odd,
    },
    { requiredKeys: [] },
  )
  .map((more) => ({ ...ENVELOPE, ...more }) as JsonObject);

/** What may be wrong: a member is gone or odd. */
const change = mostly(fc.constant(undefined), fc.record({ member: fc.nat(20), value: fc.option(odd) }));

function changed(object: JsonObject, how: { readonly member: number; readonly value: JsonValue } | undefined): JsonObject {
  if (how === undefined) return object;
  const { member, value } = how;
  const names = [...Object.keys(object), 'new'];
  const name = names[member % names.length] as string;
  const { [name]: _gone, ...rest } = object;
  return value === null ? rest : { ...rest, [name]: value };
}

/** A request, right as a whole or wrong somewhere, for the service of `two-lanes.ts`. */
export const anyRequest: fc.Arbitrary<Sent> = method.chain((name) =>
  fc
    .record({
      params: METHODS[name] as fc.Arbitrary<JsonObject>,
      meta: mostly(fc.constant(ENVELOPE as JsonObject), meta),
      id: mostly(fc.oneof(fc.nat(), fc.string()), fc.constantFrom<JsonValue[]>(1.5, null, 2 ** 60)),
      changes: fc.tuple(change, change, change, change),
      era: mostly(fc.constant('modern'), fc.constantFrom('legacy', 'mixed')),
      type: mostly(fc.constant('application/json'), fc.constantFrom('Application/JSON; charset=utf-8', 'text/plain')),
    })
    .map(({ params, meta: envelope, id, changes, era, type }) => {
      const [inMeta, inParams, inMessage, inHeaders] = changes;
      const full = era === 'legacy' ? params : { ...params, _meta: changed(envelope, inMeta) };
      const own = changed(full, inParams);
      const isNote = name.startsWith('notifications/');
      const message = changed({ jsonrpc: '2.0', ...(isNote ? {} : { id }), method: name, params: own }, inMessage);
      const args = params['arguments'] as JsonObject | undefined;
      const header = params['name'] ?? params['uri'] ?? params['taskId'];
      const headers = changed(
        {
          'content-type': type,
          accept: 'application/json, text/event-stream',
          ...(era === 'modern' ? { 'mcp-protocol-version': '2026-07-28', 'mcp-method': name } : {}),
          ...(era === 'legacy' ? { 'mcp-protocol-version': '2025-11-25' } : {}),
          ...(header === undefined ? {} : { 'mcp-name': header }),
          ...(args?.['region'] === undefined ? {} : { 'mcp-param-region': args['region'] }),
          ...(args?.['nested'] === undefined ? {} : { 'Mcp-Param-Count': (args['nested'] as JsonObject)['count'] as number }),
        },
        inHeaders as never,
      );
      const pairs = Object.entries(headers).flatMap(([key, value]) => [key, /^[\t -~]*$/.test(String(value)) ? String(value) : '']);
      return { headers: pairs, body: JSON.stringify(message) };
    }),
);
