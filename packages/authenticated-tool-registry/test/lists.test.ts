import type { JsonObject, ServiceEvent } from '@mcp-blocks/core';
import { settle, testContext } from '@mcp-blocks/core/testing';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { as, refusal, setUp } from './fixtures.js';

const nothing = () => 'x';

describe('a list', () => {
  it('is in the order of code units, whatever the order of registration', async () => {
    const { registry, ask } = setUp();
    for (const name of ['b', 'a10', 'B', 'a2', '_']) registry.tool(name, {}, nothing);
    expect(((await ask('tools/list')).tools as JsonObject[]).map((tool) => tool.name)).toEqual(['B', '_', 'a10', 'a2', 'b']);
  });

  it('comes in pages of visible entries, none of them empty', async () => {
    const { registry, ask } = setUp({ pageSize: 2 });
    for (let i = 0; i < 9; i += 1) registry.tool(`t${i}`, i % 2 === 0 ? {} : { access: { roles: ['admin'] } }, nothing);
    const first = await ask('tools/list');
    expect((first.tools as JsonObject[]).map((tool) => tool.name)).toEqual(['t0', 't2']);
    const second = await ask('tools/list', { cursor: first.nextCursor });
    expect((second.tools as JsonObject[]).map((tool) => tool.name)).toEqual(['t4', 't6']);
    const third = await ask('tools/list', { cursor: second.nextCursor });
    expect((third.tools as JsonObject[]).map((tool) => tool.name)).toEqual(['t8']);
    expect(third).not.toHaveProperty('nextCursor');
  });

  it('has no further page when the last one is exactly full', async () => {
    const { registry, ask } = setUp({ pageSize: 2 });
    for (const name of ['a', 'b']) registry.tool(name, {}, nothing);
    expect(await ask('tools/list')).not.toHaveProperty('nextCursor');
  });

  it('keeps its cursors when entries come and go', async () => {
    const { registry, ask } = setUp({ pageSize: 2 });
    for (const name of ['a', 'b', 'd']) registry.tool(name, {}, nothing);
    const { nextCursor } = await ask('tools/list');
    registry.removeTool('b');
    registry.tool('c', {}, nothing);
    expect(((await ask('tools/list', { cursor: nextCursor })).tools as JsonObject[]).map((tool) => tool.name)).toEqual(['c', 'd']);
  });

  it.each<[string, (cursor: string) => unknown]>([
    ['text of no meaning', () => 'nonsense'],
    ['empty text', () => ''],
    ['a number', () => 5],
    ['null', () => null],
    ['a cursor of another list', (cursor) => cursor],
  ])('refuses a cursor it did not give: %s', async (_name, make) => {
    const { registry, ask } = setUp({ pageSize: 1 });
    for (const name of ['a', 'b']) {
      registry.tool(name, {}, nothing);
      registry.prompt(name, {}, nothing);
    }
    const { nextCursor } = await ask('tools/list');
    const { code, message } = await refusal(ask('prompts/list', { cursor: make(nextCursor as string) as string }));
    expect([code, message]).toEqual(['invalid_params', 'cursor: not a cursor of this list; start without one']);
  });

  it('says how long it may be kept, and by whom, in the modern era', async () => {
    const { registry, ask } = setUp({ listTtlMs: 60_000 });
    registry.tool('a', { access: { allowAnonymous: true } }, nothing);
    expect(await ask('tools/list')).toMatchObject({ ttlMs: 60_000, cacheScope: 'private' });
    expect(Object.keys(await ask('tools/list', {}, testContext({ protocolVersion: '2025-11-25' })))).toEqual(['tools']);
  });
});

describe('capabilities', () => {
  it('are what has been registered', () => {
    const { registry } = setUp();
    expect(registry.info.capabilities).toEqual({});
    const { remove } = registry.tool('a', {}, nothing);
    expect(registry.info.capabilities).toEqual({ tools: { listChanged: true } });
    registry.resource('x://r', { name: 'r' }, nothing);
    registry.prompt('p', { arguments: z.object({ a: z.string() }) }, nothing);
    expect(registry.info.capabilities).toEqual({
      tools: { listChanged: true },
      resources: { listChanged: true, subscribe: true },
      prompts: { listChanged: true },
    });
    registry.prompt('q', { arguments: z.object({ a: z.string() }), complete: { a: () => [] } }, nothing);
    expect(registry.info.capabilities).toHaveProperty('completions');
    remove();
    expect(registry.info.capabilities).toHaveProperty('tools');
  });

  it('can be declared before anything is registered', async () => {
    const { registry, ask } = setUp({ capabilities: ['tools', 'resources', 'prompts', 'completions', 'logging'] });
    expect(registry.info.capabilities).toEqual({
      tools: { listChanged: true },
      resources: { listChanged: true, subscribe: true },
      prompts: { listChanged: true },
      completions: {},
      logging: {},
    });
    expect(await ask('tools/list')).toMatchObject({ tools: [] });
    expect(await ask('resources/list')).toMatchObject({ resources: [] });
    expect(await ask('resources/templates/list')).toMatchObject({ resourceTemplates: [] });
    expect(await ask('prompts/list')).toMatchObject({ prompts: [] });
  });

  it.each([
    'tools/list',
    'tools/call',
    'resources/list',
    'resources/templates/list',
    'resources/read',
    'resources/subscribe',
    'resources/unsubscribe',
    'prompts/list',
    'prompts/get',
    'completion/complete',
    'tasks/get',
    '__proto__',
  ])('answer %s as an unknown method when not declared', async (method) => {
    const { ask } = setUp();
    expect(await refusal(ask(method, { name: 'x', uri: 'x:' }))).toMatchObject({
      code: 'method_not_found',
      message: `Method not found: ${method}`,
    });
  });

  it('are still told by a service made of the parts of the registry', async () => {
    const { registry } = setUp();
    const { info, toolInputSchema, handler } = registry;
    registry.tool('a', {}, nothing);
    expect(info).toMatchObject({ name: 'orders', version: '1.0.0', capabilities: { tools: {} } });
    expect(await handler({ method: 'tools/list', params: {} }, testContext())).toMatchObject({ tools: [{ name: 'a' }] });
    expect(toolInputSchema('a', testContext())).toEqual({ type: 'object', additionalProperties: false });
  });

  it('come with title and instructions', () => {
    expect(setUp({ title: 'Orders', instructions: 'Look before you ship.' }).registry.info).toMatchObject({
      title: 'Orders',
      instructions: 'Look before you ship.',
    });
  });
});

describe('registering and removing at run time', () => {
  it('is told to subscribers', () => {
    const { registry } = setUp();
    const events: ServiceEvent[] = [];
    const stop = registry.events.subscribe((event) => events.push(event));
    registry.tool('t', {}, nothing);
    registry.resource('x://r', { name: 'r' }, nothing);
    registry.resourceTemplate('x://{id}', { name: 'r' }, nothing);
    registry.prompt('p', {}, nothing);
    registry.resourceUpdated('x://r');
    expect(registry.removeTool('t')).toBe(true);
    expect(registry.removeResource('x://r')).toBe(true);
    expect(registry.removeResourceTemplate('x://{id}')).toBe(true);
    expect(registry.removePrompt('p')).toBe(true);
    const [tools, resources, prompts] = (['tools', 'resources', 'prompts'] as const).map((kind) => ({ kind: `${kind}_list_changed` }));
    expect(events).toEqual([
      ...[tools, resources, resources, prompts],
      { kind: 'resource_updated', uri: 'x://r' },
      ...[tools, resources, resources, prompts],
    ]);
    stop();
    registry.tool('t', {}, nothing);
    expect(events).toHaveLength(9);
  });

  it('tells nobody when there was nothing to remove', () => {
    const { registry, audit } = setUp();
    const events: ServiceEvent[] = [];
    registry.events.subscribe((event) => events.push(event));
    expect([
      registry.removeTool('t'),
      registry.removeResource('t'),
      registry.removeResourceTemplate('t'),
      registry.removePrompt('t'),
    ]).toEqual([false, false, false, false]);
    expect([events, audit.events]).toEqual([[], []]);
  });

  it('by the handle removes this registration only', async () => {
    const { registry, ask } = setUp();
    const first = registry.tool('t', {}, () => 'first');
    expect(first.remove()).toBe(true);
    registry.tool('t', {}, () => 'second');
    expect(first.remove()).toBe(false);
    expect(await ask('tools/call', { name: 't' })).toMatchObject({ content: [{ text: 'second' }] });
  });

  it('lets a call in progress end', async () => {
    const { registry, ask } = setUp();
    let finish = () => {};
    registry.tool('t', {}, () => new Promise<string>((resolve) => (finish = () => resolve('done'))));
    const call = ask('tools/call', { name: 't' }, as({}));
    await settle();
    registry.removeTool('t');
    expect((await refusal(ask('tools/call', { name: 't' }))).code).toBe('invalid_params');
    finish();
    expect(await call).toMatchObject({ content: [{ text: 'done' }] });
  });
});
