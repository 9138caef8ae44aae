import type { JsonObject } from '@mcp-blocks/core';
import { toSdkFactory } from '@mcp-blocks/core/sdk';
import { testContext, testPrincipal } from '@mcp-blocks/core/testing';
import { Client, InMemoryTransport } from '@modelcontextprotocol/client';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import type { Mask } from '../src/index.js';
import { as, setUp, textOf } from './fixtures.js';

const unless = { roles: ['auditor'] };
const customer = z.object({
  name: z.string(),
  iban: z.string().regex(/^DE/).optional(),
  cards: z.array(z.object({ number: z.string() })).optional(),
});
const output = z.object({ customer, prices: z.record(z.string(), z.number()).optional(), alternatives: z.array(customer).optional() });
const value = {
  customer: { name: 'Ada', iban: 'DE12', cards: [{ number: '4111' }, { number: '4242' }] },
  prices: { a: 1, b: 2 },
  alternatives: [{ name: 'Bob', iban: 'DE34' }],
};

function masking(mask: readonly Mask[], content?: { type: 'text'; text: string }[]) {
  const setup = setUp({ roles: { chief: ['auditor'] } });
  setup.registry.tool('get', { output, mask, input: z.object({ own: z.boolean().optional() }) }, () => ({
    structuredContent: value,
    ...(content === undefined ? {} : { content, _meta: { iban: 'DE12' } }),
  }));
  const get = (roles: string[] = [], args: JsonObject = {}) => setup.ask('tools/call', { name: 'get', arguments: args }, as({ roles }));
  return { ...setup, get };
}

describe('a masked field', () => {
  it.each<[string, Mask, object]>([
    ['by default as ***', { path: 'customer.iban', unless }, { ...value, customer: { ...value.customer, iban: '***' } }],
    [
      'as ***, in every element of a list',
      { path: 'customer.cards.number', unless, with: '***' },
      { ...value, customer: { ...value.customer, cards: [{ number: '***' }, { number: '***' }] } },
    ],
    ['not at all', { path: 'customer.iban', unless, with: 'remove' }, { ...value, customer: { name: 'Ada', cards: value.customer.cards } }],
    [
      'as a function makes it',
      { path: ['customer', 'iban'], unless, with: (iban) => `${String(iban).slice(0, 2)}…` },
      { ...value, customer: { ...value.customer, iban: 'DE…' } },
    ],
    ['of every name', { path: 'prices.*', unless }, { ...value, prices: { a: '***', b: '***' } }],
    ['in a list at the root', { path: 'alternatives.iban', unless }, { ...value, alternatives: [{ name: 'Bob', iban: '***' }] }],
    ['as a whole', { path: 'customer', unless }, { ...value, customer: '***' }],
  ])('is seen %s, in structure and in text, but by whom the rules name', async (_name, mask, expected) => {
    const { get } = masking([mask], [{ type: 'text', text: 'The IBAN is DE12' }]);
    const hidden = await get(['clerk']);
    expect(hidden.structuredContent).toEqual(expected);
    expect(JSON.parse(textOf(hidden))).toEqual(expected);
    expect(hidden).not.toHaveProperty('_meta');
    for (const role of ['auditor', 'chief']) {
      const seen = await get([role]);
      expect(seen.structuredContent).toEqual(value);
      expect(textOf(seen)).toBe('The IBAN is DE12');
    }
  });

  it('may depend on the arguments of the call', async () => {
    const { get } = masking([{ path: 'customer.iban', unless: { arguments: { own: true } } }]);
    expect((await get([], { own: true })).structuredContent).toEqual(value);
    expect((await get([], { own: false })).structuredContent).toMatchObject({ customer: { iban: '***' } });
  });

  it('is masked by each mask on its own', async () => {
    const { get } = masking([
      { path: 'customer.iban', unless },
      { path: 'customer.name', unless: { roles: ['clerk'] } },
    ]);
    expect((await get(['clerk'])).structuredContent).toMatchObject({ customer: { name: 'Ada', iban: '***' } });
    expect((await get(['auditor'])).structuredContent).toMatchObject({ customer: { name: '***', iban: 'DE12' } });
  });

  it('is not seen when its function fails', async () => {
    const boom = () => {
      throw new Error('boom');
    };
    const { get, errors } = masking([{ path: 'customer.iban', unless, with: boom }]);
    const hidden = await get();
    expect(hidden.isError).toBe(true);
    expect(JSON.stringify(hidden)).not.toContain('DE12');
    expect(errors.map((error) => error.message)).toEqual(['boom']);
    expect((await get(['auditor'])).structuredContent).toEqual(value);
  });

  it('is not seen beside an error, of which only the words remain', async () => {
    const { registry, ask } = setUp();
    const content = [{ type: 'text' as const, text: 'Half of it is missing' }];
    const told = { content, isError: true as const, structuredContent: value, _meta: { iban: 'DE12' } };
    registry.tool('get', { output, mask: [{ path: 'customer.iban', unless }] }, () => told);
    expect(await ask('tools/call', { name: 'get' }, as({ roles: ['clerk'] }))).toEqual({ content, isError: true });
    expect(await ask('tools/call', { name: 'get' }, as({ roles: ['auditor'] }))).toEqual(told);
  });

  it('still fits the output schema that clients check', async () => {
    const masks: Mask[] = [
      { path: 'customer.iban', unless },
      { path: 'customer.name', unless, with: 'remove' },
      { path: 'prices.*', unless, with: () => null },
      { path: 'alternatives.iban', unless },
    ];
    const { registry } = masking(masks);
    const { structuredContent } = await registry.handler({ method: 'tools/call', params: { name: 'get', arguments: {} } }, testContext());
    expect(structuredContent).toEqual({
      customer: { iban: '***', cards: value.customer.cards },
      prices: { a: null, b: null },
      alternatives: [{ name: 'Bob', iban: '***' }],
    });
    const factory = toSdkFactory(registry, { principal: testPrincipal(), transport: 'memory' });
    const server = await factory({ era: 'legacy' } as never);
    const client = new Client({ name: 'c', version: '1' });
    const [here, there] = InMemoryTransport.createLinkedPair();
    await server.connect(there as never);
    await client.connect(here);
    await client.listTools();
    expect((await client.callTool({ name: 'get', arguments: {} })).structuredContent).toEqual(structuredContent);
    await client.close();
  });

  it.each<[string, unknown, string]>([
    ['a path the output schema has not', [{ path: 'customer.bic', unless }], '[0].path'],
    ['an empty path', [{ path: '', unless }], '[0].path'],
    ['no path', [{ unless }], '[0].path'],
    ['another replacement', [{ path: 'customer.iban', unless, with: 'xxx' }], '[0].with'],
    ['bad rules', [{ path: 'customer.iban', unless: { roles: [] } }], '[0].unless.roles'],
    ['no rules', [{ path: 'customer.iban' }], '[0].unless'],
    ['no masks', [], ''],
  ])('is refused at registration with %s', (_name, mask, member) => {
    expect(() => masking(mask as Mask[])).toThrow(
      expect.objectContaining({ code: 'invalid_configuration', option: `tool 'get'.mask${member}` }),
    );
  });

  it('needs an output schema', () => {
    expect(() => setUp().registry.tool('t', { mask: [{ path: 'a', unless }] }, () => 'x')).toThrow(
      expect.objectContaining({ option: "tool 't'.mask" }),
    );
  });
});

it('fields of a schema that contains itself are found', async () => {
  interface Tree {
    name: string;
    children: Tree[];
  }
  const tree: z.ZodType<Tree> = z.object({
    name: z.string(),
    get children() {
      return z.array(tree);
    },
  });
  const { registry, ask } = setUp();
  const leaf = { name: 'leaf', children: [] };
  registry.tool('t', { output: z.object({ tree }), mask: [{ path: 'tree.children.name', unless }] }, () => ({
    structuredContent: { tree: { name: 'root', children: [leaf] } },
  }));
  expect((await ask('tools/call', { name: 't' })).structuredContent).toEqual({
    tree: { name: 'root', children: [{ ...leaf, name: '***' }] },
  });
});
