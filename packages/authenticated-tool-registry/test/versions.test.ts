import type { ServiceEvent } from '@mcp-blocks/core';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import type { RegistrationOptions } from '../src/index.js';
import { refusal, setUp, textOf } from './fixtures.js';

const KINDS = ['tool', 'resource', 'resource template', 'prompt'] as const;
type Fixture = ReturnType<typeof setUp>;
type Definition = { readonly version?: string; readonly _meta?: { [key: string]: string } };

/** Registers, lists and uses an entry of each kind alike; its answer is `text`. */
const BY_KIND = {
  tool: {
    key: 'e',
    list: 'tools',
    event: 'tools_list_changed',
    register: ({ registry }: Fixture, text: string, definition: Definition, options?: RegistrationOptions) =>
      registry.tool('e', definition, () => text, options),
    use: async ({ ask }: Fixture) => textOf(await ask('tools/call', { name: 'e' })),
  },
  resource: {
    key: 'x://e',
    list: 'resources',
    event: 'resources_list_changed',
    register: ({ registry }: Fixture, text: string, definition: Definition, options?: RegistrationOptions) =>
      registry.resource('x://e', { name: 'e', ...definition }, () => text, options),
    use: async ({ ask }: Fixture) =>
      ((await ask('resources/read', { uri: 'x://e' })) as unknown as { contents: { text: string }[] }).contents[0]!.text,
  },
  'resource template': {
    key: 'x://e/{id}',
    list: 'resourceTemplates',
    event: 'resources_list_changed',
    register: ({ registry }: Fixture, text: string, definition: Definition, options?: RegistrationOptions) =>
      registry.resourceTemplate('x://e/{id}', { name: 'e', ...definition }, () => text, options),
    use: async ({ ask }: Fixture) =>
      ((await ask('resources/read', { uri: 'x://e/1' })) as unknown as { contents: { text: string }[] }).contents[0]!.text,
  },
  prompt: {
    key: 'e',
    list: 'prompts',
    event: 'prompts_list_changed',
    register: ({ registry }: Fixture, text: string, definition: Definition, options?: RegistrationOptions) =>
      registry.prompt('e', definition, () => text, options),
    use: async ({ ask }: Fixture) =>
      ((await ask('prompts/get', { name: 'e' })) as unknown as { messages: { content: { text: string } }[] }).messages[0]!.content.text,
  },
} as const;

async function listed({ ask }: Fixture, kind: (typeof KINDS)[number]) {
  const { list } = BY_KIND[kind];
  const method = list === 'resourceTemplates' ? 'resources/templates/list' : `${list}/list`;
  return (await ask(method))[list] as { _meta?: object }[];
}

describe.each(KINDS)('the version of a %s', (kind) => {
  const { key, register } = BY_KIND[kind];

  it('is shown beside the rest of _meta, and audited with registration and removal', async () => {
    const fixture = setUp();
    const registration = register(fixture, 'x', { version: '2.1.0', _meta: { team: 'orders' } });
    expect(await listed(fixture, kind)).toMatchObject([{ _meta: { team: 'orders', 'io.mcp-blocks/version': '2.1.0' } }]);
    registration.remove();
    expect(fixture.audit.events.map(({ target, details }) => [target, details])).toEqual([
      [key, { kind, change: 'registered', version: '2.1.0', access: {} }],
      [key, { kind, change: 'removed', version: '2.1.0', access: {} }],
    ]);
  });

  it('is nothing where none is given', async () => {
    const fixture = setUp();
    register(fixture, 'x', {});
    expect((await listed(fixture, kind))[0]).not.toHaveProperty('_meta');
    expect((await listed(fixture, kind))[0]).not.toHaveProperty('version');
    expect(fixture.audit.events[0]?.details).toEqual({ kind, change: 'registered', access: {} });
  });

  it.each(['', 2, null])('is refused as %j', (version) => {
    const fixture = setUp();
    expect(() => register(fixture, 'x', { version: version as string })).toThrow(
      expect.objectContaining({ option: `${kind} '${key}'.version` }),
    );
    expect(fixture.audit.events).toEqual([]);
  });
});

describe.each(KINDS)('a %s replaced', (kind) => {
  const { key, event, register, use } = BY_KIND[kind];

  it('answers by the new one, with one event for lists and one for the trail', async () => {
    const fixture = setUp();
    const { registry, audit } = fixture;
    const old = register(fixture, 'old', { version: '1.0.0' });
    registry.setAccess(kind, key, { users: ['alice'] });
    const events: ServiceEvent[] = [];
    registry.events.subscribe((changed) => events.push(changed));
    const before = audit.events.length;
    const registration = register(fixture, 'new', { version: '2.0.0' }, { replace: true });
    expect(await use(fixture)).toBe('new');
    expect(await listed(fixture, kind)).toMatchObject([{ _meta: { 'io.mcp-blocks/version': '2.0.0' } }]);
    expect(events).toEqual([{ kind: event }]);
    expect(audit.events.slice(before).filter(({ type }) => type === 'registry.changed')).toMatchObject([
      {
        target: key,
        outcome: 'succeeded',
        details: {
          kind,
          change: 'replaced',
          version: '2.0.0',
          previousVersion: '1.0.0',
          access: {},
          previousAccess: { users: ['alice'] },
        },
      },
    ]);
    expect(old.remove()).toBe(false);
    expect(await use(fixture)).toBe('new');
    expect(registration.remove()).toBe(true);
    await refusal(use(fixture));
  });

  it('is registered where there is none yet', async () => {
    const fixture = setUp();
    register(fixture, 'new', { version: '2.0.0' }, { replace: true });
    expect(await use(fixture)).toBe('new');
    expect(fixture.audit.events[0]?.details).toMatchObject({ change: 'registered', version: '2.0.0' });
  });

  it('stays as it was when the new one is wrong, or is not said to replace', async () => {
    const fixture = setUp();
    register(fixture, 'old', { version: '1.0.0' });
    const before = fixture.audit.events.length;
    expect(() => register(fixture, 'new', { version: '' }, { replace: true })).toThrow(/version/);
    expect(() => register(fixture, 'new', { version: '2.0.0' })).toThrow(/registered already/);
    expect(() => register(fixture, 'new', { version: '2.0.0' }, { replace: false })).toThrow(/registered already/);
    expect(fixture.audit.events).toHaveLength(before);
    expect(await use(fixture)).toBe('old');
  });
});

describe('replacing', () => {
  it('lets calls in progress finish with the schemas and function they began with', async () => {
    const { registry, ask } = setUp();
    const gate = Promise.withResolvers<void>();
    const started = Promise.withResolvers<void>();
    registry.tool('t', { version: '1', input: z.object({ id: z.string() }), output: z.object({ a: z.string() }) }, async ({ id }) => {
      started.resolve();
      await gate.promise;
      return { structuredContent: { a: id } };
    });
    const inProgress = ask('tools/call', { name: 't', arguments: { id: '7' } });
    await started.promise;
    registry.tool(
      't',
      { version: '2', input: z.object({ n: z.number() }), output: z.object({ b: z.number() }) },
      ({ n }) => ({ structuredContent: { b: n } }),
      { replace: true },
    );
    expect((await ask('tools/call', { name: 't', arguments: { n: 7 } })).structuredContent).toEqual({ b: 7 });
    gate.resolve();
    expect((await inProgress).structuredContent).toEqual({ a: '7' });
  });

  it('lets a call that is still being decided finish with the entry it asked for', async () => {
    const gate = Promise.withResolvers<void>();
    const asked = Promise.withResolvers<void>();
    const decide = async () => {
      asked.resolve();
      await gate.promise;
      return { allow: true } as const;
    };
    const { registry, ask } = setUp({ decisionPoint: { decide } });
    registry.tool('t', {}, () => 'old');
    const inProgress = ask('tools/call', { name: 't' });
    await asked.promise;
    registry.tool('t', {}, () => 'new', { replace: true });
    gate.resolve();
    expect(textOf(await inProgress)).toBe('old');
    expect(textOf(await ask('tools/call', { name: 't' }))).toBe('new');
  });

  it('keeps the place among templates', async () => {
    const { registry, ask } = setUp();
    registry.resourceTemplate('x://{a}', { name: 'a' }, () => 'first');
    registry.resourceTemplate('x://{b}', { name: 'b' }, () => 'second');
    registry.resourceTemplate('x://{a}', { name: 'a' }, () => 'first again', { replace: true });
    expect(await ask('resources/read', { uri: 'x://1' })).toMatchObject({ contents: [{ text: 'first again' }] });
  });
});
