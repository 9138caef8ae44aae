import type { JsonObject } from '@mcp-blocks/core';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { as, refusal, setUp } from './fixtures.js';

const message = { role: 'assistant' as const, content: { type: 'text' as const, text: 'Hm.' } };

describe('a prompt', () => {
  it('gives text as a message of the user, messages as they are, or the whole result', async () => {
    const { registry, ask } = setUp();
    registry.prompt('text', { arguments: z.object({ about: z.string() }) }, ({ about }) => `Tell me about ${about}`);
    registry.prompt('messages', {}, async () => [message]);
    registry.prompt('whole', {}, () => ({ description: 'd', messages: [message], _meta: { a: 1 } }));
    expect(await ask('prompts/get', { name: 'text', arguments: { about: 'cats' } })).toEqual({
      messages: [{ role: 'user', content: { type: 'text', text: 'Tell me about cats' } }],
    });
    expect(await ask('prompts/get', { name: 'messages' })).toEqual({ messages: [message] });
    expect(await ask('prompts/get', { name: 'whole' })).toEqual({ description: 'd', messages: [message], _meta: { a: 1 } });
  });

  it('may ask for input first', async () => {
    const { registry, ask } = setUp();
    registry.prompt('p', {}, (_args, { inputResponses }) =>
      inputResponses === undefined ? { resultType: 'input_required', inputRequests: { a: { method: 'roots/list' } } } : 'ready',
    );
    expect(await ask('prompts/get', { name: 'p' })).toMatchObject({ resultType: 'input_required' });
    expect(await ask('prompts/get', { name: 'p', inputResponses: { a: { roots: [] } } })).toMatchObject({
      messages: [{ content: { text: 'ready' } }],
    });
  });

  it('lists its arguments from the schema', async () => {
    const { registry, ask } = setUp();
    const args = z.object({ text: z.string().describe('What to summarise').meta({ title: 'Text' }), words: z.coerce.number().optional() });
    registry.prompt(
      'summarise',
      { title: 'Summarise', description: 'd', icons: [{ src: 'data:,' }], _meta: { a: 1 }, arguments: args },
      () => 'x',
    );
    registry.prompt('plain', {}, () => 'x');
    expect((await ask('prompts/list')).prompts).toEqual([
      { name: 'plain' },
      {
        name: 'summarise',
        title: 'Summarise',
        description: 'd',
        icons: [{ src: 'data:,' }],
        _meta: { a: 1 },
        arguments: [
          { name: 'text', title: 'Text', description: 'What to summarise', required: true },
          { name: 'words', required: false },
        ],
      },
    ]);
  });

  it.each<[string, JsonObject, string]>([
    ['a missing argument', {}, 'arguments.text: '],
    ['an argument that is no string', { text: 5 }, 'arguments.text: expected string'],
    ['arguments that are too large', { text: 'x'.repeat(200) }, 'arguments: larger than 128 bytes'],
    ['__proto__', JSON.parse('{"text":"a","__proto__":"b"}') as JsonObject, 'arguments.__proto__'],
  ])('refuses %s', async (_name, args, problem) => {
    const { registry, ask } = setUp({ maxArgumentBytes: 128 });
    registry.prompt('p', { arguments: z.object({ text: z.string() }) }, () => 'x');
    const { code, message: text } = await refusal(ask('prompts/get', { name: 'p', arguments: args }));
    expect(code).toBe('invalid_params');
    expect(text).toContain(problem);
  });

  it('without arguments takes none', async () => {
    const { registry, ask } = setUp();
    registry.prompt('p', {}, () => 'x');
    expect(await refusal(ask('prompts/get', { name: 'p', arguments: { a: 'b' } }))).toMatchObject({ code: 'invalid_params' });
  });

  it.each<[string, unknown]>([
    ['nothing', undefined],
    ['null', null],
    ['an object without messages', {}],
    ['messages without content', [{ role: 'user' }]],
  ])('hides its failure: it returned %s', async (_name, returned) => {
    const { registry, ask, errors } = setUp();
    registry.prompt('p', {}, () => returned as string);
    expect(await refusal(ask('prompts/get', { name: 'p' }))).toMatchObject({ code: 'internal_error', message: "Prompt 'p' failed" });
    expect(errors).toHaveLength(1);
  });

  it.each<[string, string, object, unknown, string]>([
    ['an empty name', '', {}, () => 'x', 'prompt'],
    ['no function', 'p', {}, undefined, "prompt 'p'"],
    ['arguments that are no object', 'p', { arguments: z.string() }, () => 'x', "prompt 'p'.arguments"],
    ['a completer of nothing', 'p', { complete: { a: () => [] } }, () => 'x', "prompt 'p'.complete.a"],
    [
      'a completer that is no function',
      'p',
      { arguments: z.object({ a: z.string() }), complete: { a: 'b' } },
      () => 'x',
      "prompt 'p'.complete.a",
    ],
  ])('is refused with the reason: %s', (_name, name, definition, handler, option) => {
    const { registry } = setUp();
    expect(() => registry.prompt(name, definition, handler as () => string)).toThrow(
      expect.objectContaining({ code: 'invalid_configuration', option }),
    );
  });
});

describe('completion', () => {
  const languages = ['go', 'python', 'pascal'];
  function completing() {
    const setup = setUp();
    setup.registry.prompt(
      'review',
      {
        arguments: z.object({ language: z.string(), framework: z.string().optional(), free: z.string().optional() }),
        complete: {
          language: (value) => languages.filter((language) => language.startsWith(value)),
          framework: async (_value, context) => [`${context.arguments.language}-web`, context.principal.id],
        },
      },
      () => 'x',
    );
    const many = Array.from({ length: 250 }, (_id, i) => `id-${i}`);
    setup.registry.resourceTemplate('db://orders/{id}', { name: 'order', complete: { id: () => many } }, () => 'x');
    return setup;
  }
  const ref = { type: 'ref/prompt', name: 'review' };

  it('gives what the completer gives', async () => {
    const { ask } = completing();
    expect(await ask('completion/complete', { ref, argument: { name: 'language', value: 'p' } })).toEqual({
      completion: { values: ['python', 'pascal'], total: 2, hasMore: false },
    });
  });

  it('knows the caller and the arguments already settled', async () => {
    const { ask } = completing();
    const params = { ref, argument: { name: 'framework', value: '' }, context: { arguments: { language: 'go' } } };
    expect(await ask('completion/complete', params, as({ id: 'bob' }))).toMatchObject({ completion: { values: ['go-web', 'bob'] } });
  });

  it('sends at most 100 values and says that there are more', async () => {
    const { ask } = completing();
    const params = { ref: { type: 'ref/resource', uri: 'db://orders/{id}' }, argument: { name: 'id', value: '' } };
    const { completion } = (await ask('completion/complete', params)) as { completion: { values: string[] } };
    expect(completion).toMatchObject({ total: 250, hasMore: true });
    expect(completion.values).toHaveLength(100);
  });

  it('has nothing to suggest for an argument that nobody completes', async () => {
    const { ask } = completing();
    expect(await ask('completion/complete', { ref, argument: { name: 'free', value: 'x' } })).toMatchObject({ completion: { values: [] } });
  });

  it('hides why a completer failed', async () => {
    const { registry, ask } = setUp();
    const complete = {
      a: () => {
        throw new Error('secret');
      },
    };
    registry.prompt('p', { arguments: z.object({ a: z.string() }), complete }, () => 'x');
    const params = { ref: { type: 'ref/prompt', name: 'p' }, argument: { name: 'a', value: '' } };
    expect(await refusal(ask('completion/complete', params))).toMatchObject({ code: 'internal_error', message: 'Completing failed' });
  });

  const argument = { name: 'language', value: '' };
  it.each<[string, JsonObject]>([
    ['no ref', { argument }],
    ['a ref of another kind', { ref: { type: 'ref/tool', name: 'review' }, argument }],
    ['an unknown prompt', { ref: { type: 'ref/prompt', name: 'other' }, argument }],
    ['no argument', { ref }],
    ['a value that is no string', { ref, argument: { name: 'language', value: 5 } }],
    ['an argument that does not exist', { ref, argument: { name: 'constructor', value: '' } }],
    ['settled arguments that are no strings', { ref, argument, context: { arguments: { a: 5 } } }],
    ['settled arguments that are no object', { ref, argument, context: { arguments: null } }],
  ])('refuses %s', async (_name, params) => {
    const { ask } = completing();
    expect((await refusal(ask('completion/complete', params))).code).toBe('invalid_params');
  });
});
