import { ConfigurationError, type JsonObject, RpcError } from '@mcp-blocks/core';
import { testContext, testPrincipal } from '@mcp-blocks/core/testing';
import { fromJsonSchema, inputRequired } from '@modelcontextprotocol/server';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { ToolError } from '../src/index.js';
import { refusal, setUp, textOf } from './fixtures.js';

describe('what a tool returns', () => {
  it('is text, or content as it is', async () => {
    const { registry, ask } = setUp();
    registry.tool('text', { input: z.object({ id: z.string() }) }, ({ id }) => `order ${id}`);
    registry.tool('image', {}, () => ({ content: [{ type: 'image', data: 'AA==', mimeType: 'image/png' }], _meta: { a: 1 } }));
    expect(await ask('tools/call', { name: 'text', arguments: { id: '7' } })).toEqual({ content: [{ type: 'text', text: 'order 7' }] });
    expect(await ask('tools/call', { name: 'image' })).toEqual({
      content: [{ type: 'image', data: 'AA==', mimeType: 'image/png' }],
      _meta: { a: 1 },
    });
  });

  it('is structured content with its JSON as text, less what the output schema does not know', async () => {
    const { registry, ask } = setUp();
    const row = { id: '7', secret: 'internal margin' };
    registry.tool('row', { output: z.object({ id: z.string() }) }, () => ({ structuredContent: row }));
    expect(await ask('tools/call', { name: 'row' })).toEqual({
      content: [{ type: 'text', text: '{"id":"7"}' }],
      structuredContent: { id: '7' },
    });
  });

  it('may be a request for input, whose answers the retry hands to the tool', async () => {
    const { registry, ask } = setUp();
    registry.tool('ask', { output: z.object({ name: z.string() }) }, (_args, { inputResponses, requestState }) => {
      const answer = inputResponses?.who as { content?: { name: string } } | undefined;
      if (answer?.content !== undefined && requestState === 's1') return { structuredContent: { name: answer.content.name } };
      const requestedSchema = { type: 'object' as const, properties: { name: { type: 'string' as const } } };
      return inputRequired({ inputRequests: { who: inputRequired.elicit({ message: 'Who?', requestedSchema }) }, requestState: 's1' });
    });
    expect(await ask('tools/call', { name: 'ask' })).toMatchObject({
      resultType: 'input_required',
      inputRequests: { who: { method: 'elicitation/create' } },
      requestState: 's1',
    });
    const retry = { name: 'ask', inputResponses: { who: { action: 'accept', content: { name: 'Ada' } } }, requestState: 's1' };
    expect(await ask('tools/call', retry)).toMatchObject({ structuredContent: { name: 'Ada' } });
  });

  it.each<[string, unknown, string]>([
    ['undefined', undefined, 'returned undefined'],
    ['null', null, 'returned null'],
    ['a number', 5, 'returned number'],
    ['an array', [], 'which is not a tool result'],
    ['an object without content', { a: 1 }, 'without a content array'],
    ['content that is no array', { content: 'x' }, 'without a content array'],
    ['a block that is no object', { content: ['x'] }, 'without a content array'],
  ])('is a hidden failure when it is %s', async (_name, returned, detail) => {
    const { registry, ask, errors } = setUp();
    registry.tool('odd', {}, () => returned as string);
    expect(await ask('tools/call', { name: 'odd' })).toEqual({ content: [{ type: 'text', text: "Tool 'odd' failed" }], isError: true });
    expect(errors.map((error) => error.message)).toEqual([expect.stringContaining(detail)]);
  });

  it.each<[string, unknown]>([
    ['the wrong type', { structuredContent: { id: 7 } }],
    ['nothing structured', 'just text'],
    ['content alone', { content: [{ type: 'text', text: 'x' }] }],
    ['content of another shape', { structuredContent: { id: '7' }, content: 'x' }],
  ])('is a hidden failure when the output schema refuses it: %s', async (_name, returned) => {
    const { registry, ask, audit } = setUp();
    registry.tool('row', { output: z.object({ id: z.string() }) }, () => returned as { structuredContent: { id: string } });
    const result = await ask('tools/call', { name: 'row' });
    expect(result).toEqual({ content: [{ type: 'text', text: "Tool 'row' failed" }], isError: true });
    expect(audit.events.at(-1)).toMatchObject({ type: 'tool.call', outcome: 'failed' });
  });

  it('may be an error of its own in place of structured content', async () => {
    const { registry, ask } = setUp();
    registry.tool('row', { output: z.object({ id: z.string() }) }, () => ({
      isError: true,
      content: [{ type: 'text', text: 'Sold out' }],
    }));
    expect(await ask('tools/call', { name: 'row' })).toEqual({ isError: true, content: [{ type: 'text', text: 'Sold out' }] });
  });
});

describe('what a tool throws', () => {
  it('reaches the model when it is a ToolError', async () => {
    const { registry, ask, errors } = setUp();
    registry.tool('ship', {}, () => {
      throw new ToolError('Order 17 is already shipped', { cause: new Error('row locked') });
    });
    expect(await ask('tools/call', { name: 'ship' })).toEqual({
      content: [{ type: 'text', text: 'Order 17 is already shipped' }],
      isError: true,
    });
    expect(errors).toEqual([]);
  });

  it('fails the request when it is an RpcError', async () => {
    const { registry, ask } = setUp();
    registry.tool('busy', {}, async () => {
      throw new RpcError('unavailable', 'Later', { data: { retryAfterMs: 5 } });
    });
    expect(await refusal(ask('tools/call', { name: 'busy' }))).toMatchObject({ code: 'unavailable', message: 'Later' });
  });

  it.each<[string, unknown]>([
    ['an Error', new Error('password=hunter2')],
    ['a string', 'password=hunter2'],
    ['an object', { password: 'hunter2' }],
    ['undefined', undefined],
  ])('stays on the server when it is %s', async (_name, thrown) => {
    const { registry, ask, errors } = setUp();
    registry.tool('bug', {}, () => {
      throw thrown;
    });
    expect(await ask('tools/call', { name: 'bug' })).toEqual({ content: [{ type: 'text', text: "Tool 'bug' failed" }], isError: true });
    expect(errors).toHaveLength(1);
  });

  it('stays on the server when the schema itself throws', async () => {
    const { registry, ask, errors } = setUp();
    const broken = z.object({
      id: z.string().refine(() => {
        throw new Error('refinement bug');
      }),
    });
    registry.tool('broken', { input: broken }, () => 'never');
    expect(await ask('tools/call', { name: 'broken', arguments: { id: 'x' } })).toMatchObject({ isError: true });
    expect(errors[0]?.message).toBe('refinement bug');
  });
});

describe('arguments', () => {
  const input = z.object({ id: z.string(), lines: z.array(z.object({ sku: z.string() })).default([]) });
  const parse = (text: string) => JSON.parse(text) as JsonObject;

  it.each<[string, JsonObject, string]>([
    ['a missing member', {}, 'arguments.id: '],
    ['a wrong type', { id: 7 }, 'arguments.id: Invalid input: expected string, received number'],
    ['a wrong type deep down', { id: 'a', lines: [{ sku: 'x' }, { sku: 1 }] }, 'arguments.lines[1].sku: '],
    ['__proto__', parse('{"id":"a","__proto__":{"admin":true}}'), 'arguments.__proto__: this name is not accepted'],
    ['constructor.prototype', parse('{"id":"a","constructor":{"prototype":{"admin":true}}}'), 'arguments.constructor.prototype: this name'],
    [
      'constructor.prototype deep down',
      parse('{"id":"a","lines":[[{"constructor":{"prototype":1}}]]}'),
      'arguments.lines[][].constructor.',
    ],
    ['__proto__ deep down', parse('{"id":"a","lines":[{"sku":"x","__proto__":1}]}'), 'arguments.lines[].__proto__: '],
    ['too deep nesting', parse(`{"id":"a","x":${'['.repeat(40)}${']'.repeat(40)}}`), 'arguments: nested too deep'],
    ['too much text', { id: 'x'.repeat(200) }, 'arguments: larger than 128 bytes'],
    ['too much text outside of ASCII', { id: '☃'.repeat(50) }, 'arguments: larger than 128 bytes'],
  ])('are refused as something the model can mend: %s', async (_name, args, problem) => {
    const { registry, ask, audit } = setUp({ maxArgumentBytes: 128 });
    let ran = false;
    registry.tool('order', { input }, () => {
      ran = true;
      return 'ran';
    });
    const result = await ask('tools/call', { name: 'order', arguments: args });
    expect(result.isError).toBe(true);
    expect(textOf(result)).toContain(problem);
    expect(ran).toBe(false);
    expect(audit.events.at(-1)).toMatchObject({ type: 'tool.call', outcome: 'failed', reason: 'invalid arguments' });
  });

  it.each([
    ['{"who":{"__proto__":{"admin":true}}}', 'inputResponses.who.__proto__: this name is not accepted'],
    ['{"constructor":{"prototype":{"admin":true}}}', 'inputResponses.constructor.prototype: this name is not accepted'],
    [`{"who":${'['.repeat(40)}${']'.repeat(40)}}`, 'inputResponses: nested too deep'],
  ])('have the same names and nesting as the answers to what a tool asked: %s', async (text, message) => {
    const { registry, ask, audit } = setUp({ maxArgumentBytes: 128 });
    registry.tool('ask', {}, (_args, { inputResponses }) => JSON.stringify(inputResponses));
    const refused = await refusal(ask('tools/call', { name: 'ask', inputResponses: parse(text) }));
    expect([refused.code, refused.message]).toEqual(['invalid_params', message]);
    expect(audit.events.at(-1)).toMatchObject({ type: 'tool.call', outcome: 'failed', reason: message });
    const inputResponses = { who: { constructor: 'Ferrari', photo: 'x'.repeat(500) } };
    expect(textOf(await ask('tools/call', { name: 'ask', inputResponses }))).toBe(JSON.stringify(inputResponses));
  });

  it('may be exactly as large as the bound', async () => {
    const args = { id: '☃'.repeat(10) };
    const size = new TextEncoder().encode(JSON.stringify(args)).length;
    for (const [maxArgumentBytes, isError] of [
      [size, undefined],
      [size - 1, true],
    ] as const) {
      const { registry, ask } = setUp({ maxArgumentBytes });
      registry.tool('order', { input }, () => 'ran');
      expect((await ask('tools/call', { name: 'order', arguments: args })).isError).toBe(isError);
    }
  });

  it('are listed problem by problem, but not without end', async () => {
    const { registry, ask } = setUp();
    registry.tool('order', { input }, () => 'ran');
    const lines = Array.from({ length: 500 }, () => ({ sku: 1 }));
    const result = await ask('tools/call', { name: 'order', arguments: { id: 'a', lines } });
    expect(textOf(result).split('\n')).toHaveLength(12);
    expect(textOf(result)).toContain('and 490 more');
  });

  it('reach the tool as the schema made them', async () => {
    const { registry, ask } = setUp();
    registry.tool('order', { input }, (args) => JSON.stringify(args));
    expect(textOf(await ask('tools/call', { name: 'order', arguments: { id: 'a', extra: 1 } }))).toBe('{"id":"a","lines":[]}');
  });

  it('are none for a tool without input', async () => {
    const { registry, ask } = setUp();
    registry.tool('now', {}, () => 'noon');
    expect(textOf(await ask('tools/call', { name: 'now' }))).toBe('noon');
    expect(textOf(await ask('tools/call', { name: 'now', arguments: {} }))).toBe('noon');
    expect(textOf(await ask('tools/call', { name: 'now', arguments: { zone: 'UTC' } }))).toContain('arguments.zone');
    expect((await ask('tools/list')).tools).toEqual([{ name: 'now', inputSchema: { type: 'object', additionalProperties: false } }]);
  });

  it.each<[string, JsonObject, string]>([
    ['no name', {}, 'name'],
    ['a name that is no string', { name: 5 }, 'name'],
    ['arguments that are an array', { name: 'order', arguments: [] }, 'arguments'],
    ['arguments that are null', { name: 'order', arguments: null }, 'arguments'],
    ['inputResponses that are no object', { name: 'order', inputResponses: 'x' }, 'inputResponses'],
    ['a requestState that is no string', { name: 'order', requestState: {} }, 'requestState'],
  ])('are a protocol error when malformed: %s', async (_name, params, member) => {
    const { registry, ask } = setUp();
    registry.tool('order', { input }, () => 'ran');
    const { code, message } = await refusal(ask('tools/call', params));
    expect(code).toBe('invalid_params');
    expect(message).toMatch(new RegExp(`^${member}: expected`));
  });
});

describe('the listed definition', () => {
  it('has all that was registered, with header declarations in the JSON Schema', async () => {
    const { registry, ask } = setUp();
    registry.tool(
      'query',
      {
        title: 'Query',
        description: 'Runs a query.',
        icons: [{ src: 'https://example.com/i.png' }],
        annotations: { readOnlyHint: true },
        _meta: { team: 'data' },
        input: z.object({ region: z.string().meta({ 'x-mcp-header': 'Region' }), limit: z.int().default(10) }),
        output: z.object({ rows: z.array(z.string()) }),
      },
      () => ({ structuredContent: { rows: [] } }),
    );
    const [tool] = (await ask('tools/list')).tools as JsonObject[];
    expect(tool).toMatchObject({
      name: 'query',
      title: 'Query',
      description: 'Runs a query.',
      icons: [{ src: 'https://example.com/i.png' }],
      annotations: { readOnlyHint: true },
      _meta: { team: 'data' },
      inputSchema: { type: 'object', required: ['region'], properties: { region: { type: 'string', 'x-mcp-header': 'Region' } } },
      outputSchema: { type: 'object', required: ['rows'] },
    });
    expect(tool?.access).toBeUndefined();
    expect(registry.toolInputSchema('query', testContext())).toEqual(tool?.inputSchema);
    expect(registry.toolInputSchema('constructor', testContext())).toBeUndefined();
  });

  it('tells the schema of no tool to a caller who may not use it', () => {
    const { registry } = setUp();
    registry.tool('secret', { access: { roles: ['admin'] } }, () => 'told');
    expect(registry.toolInputSchema('secret', testContext())).toBeUndefined();
    expect(registry.toolInputSchema('secret', testContext({ principal: testPrincipal({ roles: ['admin'] }) }))).toBeDefined();
  });

  it('keeps a JSON Schema of your own to the letter, and validates with it', async () => {
    const { registry, ask } = setUp();
    const schema = {
      $schema: 'https://json-schema.org/draft/2020-12/schema',
      type: 'object',
      $defs: { address: { $anchor: 'addressDef', type: 'object', properties: { street: { type: 'string' } } } },
      properties: { phone: { type: 'string' }, email: { type: 'string' }, address: { $ref: '#/$defs/address' } },
      allOf: [{ anyOf: [{ required: ['phone'] }, { required: ['email'] }] }],
      additionalProperties: false,
    };
    registry.tool('contact', { input: fromJsonSchema<{ phone?: string }>(schema) }, ({ phone }) => `called ${phone}`);
    expect(((await ask('tools/list')).tools as JsonObject[])[0]?.inputSchema).toEqual(schema);
    expect(textOf(await ask('tools/call', { name: 'contact', arguments: { phone: '1' } }))).toBe('called 1');
    expect((await ask('tools/call', { name: 'contact', arguments: {} })).isError).toBe(true);
  });

  it('computes JSON Schemas at registration only', async () => {
    const { registry, ask } = setUp();
    let computed = 0;
    const schema = z.object({});
    const counting = {
      '~standard': {
        ...schema['~standard'],
        jsonSchema: {
          ...schema['~standard'].jsonSchema,
          input: () => {
            computed += 1;
            return { type: 'object' };
          },
        },
      },
    };
    registry.tool('a', { input: counting }, () => 'x');
    await ask('tools/list');
    await ask('tools/call', { name: 'a', arguments: {} });
    expect(computed).toBe(1);
  });
});

describe('a registration is refused with the reason when', () => {
  const nothing = () => 'x';
  const header = (name: unknown) => ({ 'x-mcp-header': name });
  it.each<[string, string, object, unknown, string]>([
    ['the name is empty', '', {}, nothing, 'tool'],
    ['the name has a space', 'a b', {}, nothing, 'tool'],
    ['the name is too long', 'a'.repeat(129), {}, nothing, 'tool'],
    ['there is no function', 'a', {}, undefined, "tool 'a'"],
    ['the input is no schema', 'a', { input: { type: 'object' } }, nothing, "tool 'a'.input"],
    ['the input is no object', 'a', { input: z.string() }, nothing, "tool 'a'.input"],
    ['the input has no JSON Schema', 'a', { input: z.object({ n: z.bigint() }) }, nothing, "tool 'a'.input"],
    ['the output is no object', 'a', { output: z.array(z.string()) }, nothing, "tool 'a'.output"],
    [
      'a header name is no token',
      'a',
      { input: z.object({ p: z.string().meta(header('a b')) }) },
      nothing,
      "tool 'a'.input.p.x-mcp-header",
    ],
    [
      'a header name breaks the line',
      'a',
      { input: z.object({ p: z.string().meta(header('a\r\nb')) }) },
      nothing,
      "tool 'a'.input.p.x-mcp-header",
    ],
    ['a header is of a number', 'a', { input: z.object({ p: z.number().meta(header('P')) }) }, nothing, "tool 'a'.input.p.x-mcp-header"],
    [
      'a header is within an array',
      'a',
      { input: z.object({ p: z.array(z.string().meta(header('P'))) }) },
      nothing,
      "tool 'a'.input.p.items.x-mcp-header",
    ],
    ['a header is of the whole', 'a', { input: z.object({}).meta(header('P')) }, nothing, "tool 'a'.input.x-mcp-header"],
    [
      'two headers differ in case only',
      'a',
      { input: z.object({ p: z.string().meta(header('P')), q: z.string().meta(header('p')) }) },
      nothing,
      "tool 'a'.input.q.x-mcp-header",
    ],
  ])('%s', (_name, name, definition, handler, option) => {
    const { registry, audit } = setUp();
    expect(() => registry.tool(name, definition, handler as () => string)).toThrow(
      expect.objectContaining({ code: 'invalid_configuration', option }),
    );
    expect(audit.events).toEqual([]);
    expect(registry.info.capabilities).toEqual({});
  });

  it('the name is taken', () => {
    const { registry } = setUp();
    registry.tool('a', {}, nothing);
    expect(() => registry.tool('a', {}, nothing)).toThrow(ConfigurationError);
  });

  it('accepts a header on a nested property and a property that is called as the keyword', () => {
    const { registry } = setUp();
    const input = z.object({ where: z.object({ region: z.string().meta(header('Region')) }), 'x-mcp-header': z.string() });
    registry.tool('a', { input }, nothing);
    expect(registry.toolInputSchema('a', testContext())).toMatchObject({
      properties: { where: { properties: { region: { 'x-mcp-header': 'Region' } } } },
    });
  });
});

describe('notifications of a call', () => {
  it('are progress for a caller who asked for it', async () => {
    const { registry, ask } = setUp();
    registry.tool('work', {}, async (_args, { progress }) => {
      await progress(1, 2, 'half');
      return 'done';
    });
    const silent = testContext();
    await ask('tools/call', { name: 'work' }, silent);
    expect(silent.notifications).toEqual([]);
    const curious = testContext();
    await ask('tools/call', { name: 'work', _meta: { progressToken: 0 } }, curious);
    expect(curious.notifications).toEqual([
      { method: 'notifications/progress', params: { progressToken: 0, progress: 1, total: 2, message: 'half' } },
    ]);
  });

  it.each<[string, boolean, Parameters<typeof testContext>[0], string[]]>([
    ['a modern caller who wants none', true, {}, []],
    ['a modern caller who wants warnings', true, { logLevel: 'warning' }, ['warning', 'error']],
    ['a legacy caller, whose listener filters', true, { protocolVersion: '2025-11-25' }, ['info', 'warning', 'error']],
    ['a registry that does not declare logging', false, { logLevel: 'debug' }, []],
  ])('are log messages for %s', async (_name, logging, overrides, levels) => {
    const { registry, ask } = setUp(logging ? { capabilities: ['logging'] } : {});
    registry.tool('work', {}, async (_args, { log }) => {
      for (const level of ['info', 'warning', 'error'] as const) await log(level, 'x');
      return 'done';
    });
    const context = testContext(overrides);
    await ask('tools/call', { name: 'work' }, context);
    expect(context.notifications.map(({ params }) => params.level)).toEqual(levels);
  });

  it('end with the call', async () => {
    const { registry, ask } = setUp({ capabilities: ['logging'] });
    let late = async () => {};
    registry.tool('work', {}, (_args, { progress, log, notify }) => {
      late = async () => {
        await progress(1);
        await log('error', 'late');
        await notify('notifications/late', {});
      };
      return 'done';
    });
    const context = testContext({ logLevel: 'debug' });
    await ask('tools/call', { name: 'work', _meta: { progressToken: 't' } }, context);
    await late();
    expect(context.notifications).toEqual([]);
  });
});

it('the compiler holds a tool to its schemas', () => {
  const { registry } = setUp();
  const input = z.object({ id: z.string() });
  const output = z.object({ total: z.number() });
  registry.tool('a', { input }, ({ id }) => id.toUpperCase());
  registry.tool('b', { input, output }, ({ id }) => ({ structuredContent: { total: id.length } }));
  // @ts-expect-error: there is no such argument.
  registry.tool('c', { input }, ({ other }) => `${other}`);
  // @ts-expect-error: a tool with an output schema answers with structured content.
  registry.tool('d', { output }, () => 'text');
  // @ts-expect-error: of the shape of the schema.
  registry.tool('e', { output }, () => ({ structuredContent: { total: '5' } }));
  // @ts-expect-error: a tool without output schema answers with content.
  registry.tool('f', {}, () => ({ structuredContent: { total: 5 } }));
  expect(registry.info.capabilities).toEqual({ tools: { listChanged: true } });
});
