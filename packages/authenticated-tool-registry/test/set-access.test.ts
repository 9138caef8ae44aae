import type { ServiceEvent } from '@mcp-blocks/core';
import { describe, expect, it } from 'vitest';
import { refusal, setUp } from './fixtures.js';

describe('rules changed at run time', () => {
  it.each(['tool', 'resource', 'resource template', 'prompt'] as const)('hold at once, are audited, and change lists: %s', async (kind) => {
    const { registry, ask, audit } = setUp();
    registry.tool('e', { access: { roles: ['admin'] } }, () => 'x');
    registry.resource('x://e', { name: 'e', access: { roles: ['admin'] } }, () => 'x');
    registry.resourceTemplate('x://e/{id}', { name: 'e', access: { roles: ['admin'] } }, () => 'x');
    registry.prompt('e', { access: { roles: ['admin'] } }, () => 'x');
    const [key, method, params, list] = {
      tool: ['e', 'tools/call', { name: 'e' }, 'tools_list_changed'],
      resource: ['x://e', 'resources/read', { uri: 'x://e' }, 'resources_list_changed'],
      'resource template': ['x://e/{id}', 'resources/read', { uri: 'x://e/1' }, 'resources_list_changed'],
      prompt: ['e', 'prompts/get', { name: 'e' }, 'prompts_list_changed'],
    }[kind] as [string, string, { name: string }, string];
    await refusal(ask(method, params));
    const events: ServiceEvent[] = [];
    registry.events.subscribe((event) => events.push(event));
    expect(registry.setAccess(kind, key, { users: ['alice'] })).toBe(true);
    expect(audit.events.at(-1)).toMatchObject({
      type: 'access.changed',
      outcome: 'succeeded',
      actor: '-',
      target: key,
      details: { kind, before: { roles: ['admin'] }, after: { users: ['alice'] } },
    });
    await ask(method, params);
    expect(registry.setAccess(kind, key)).toBe(true);
    expect(audit.events.at(-1)?.details).toMatchObject({ before: { users: ['alice'] }, after: {} });
    expect(events.map((event) => event.kind)).toEqual([list, list]);
  });

  it('leave the handle of the registration good', () => {
    const { registry } = setUp();
    const registration = registry.tool('t', {}, () => 'x');
    registry.setAccess('tool', 't', { users: ['a'] });
    expect(registration.remove()).toBe(true);
    expect(registry.setAccess('tool', 't', {})).toBe(false);
  });

  it('are checked like others', () => {
    const { registry, audit } = setUp();
    registry.tool('t', {}, () => 'x');
    registry.resource('x://r', { name: 'r', access: { allowAnonymous: true }, cacheHint: { ttlMs: 1, cacheScope: 'public' } }, () => 'x');
    const before = audit.events.length;
    expect(() => registry.setAccess('tool', 't', { roles: [] })).toThrow(expect.objectContaining({ option: "tool 't'.access.roles" }));
    expect(() => registry.setAccess('resource', 'x://r', {})).toThrow(
      expect.objectContaining({ option: "resource 'x://r'.cacheHint.cacheScope" }),
    );
    expect(() => registry.setAccess('toolbox' as never, 't', {})).toThrow(expect.objectContaining({ option: 'kind' }));
    expect(audit.events).toHaveLength(before);
  });
});
