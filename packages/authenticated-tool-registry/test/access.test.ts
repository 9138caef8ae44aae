import type { JsonObject, Principal } from '@mcp-blocks/core';
import { anonymous } from '@mcp-blocks/core';
import { testContext, testPrincipal } from '@mcp-blocks/core/testing';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { type Access, AccessPolicy, type AccessRule, AuthenticatedToolRegistry, RoleHierarchy } from '../src/index.js';
import { as, asking, refusal, setUp } from './fixtures.js';

const environment = { time: 0, transport: 'memory' };
const decide = (principal: Principal, access: Access | 'deny', roles?: RoleHierarchy) =>
  new AccessPolicy(access).decide({ principal, environment }, roles);

const roleName = fc.constantFrom('viewer', 'analyst', 'admin', '__proto__', 'constructor');
const scopeName = fc.constantFrom('orders:read', 'orders:write', 'toString');
const list = <T>(item: fc.Arbitrary<T>) => fc.uniqueArray(item, { minLength: 1, maxLength: 3 });
const rule: fc.Arbitrary<AccessRule> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ roles: list(roleName), scopes: list(scopeName) }, { requiredKeys: [] }) },
  { weight: 1, arbitrary: fc.constant<AccessRule>({ allowAnonymous: true }) },
);
const principal: fc.Arbitrary<Principal> = fc
  .record({
    roles: fc.uniqueArray(roleName),
    scopes: fc.uniqueArray(scopeName),
    authentication: fc.constantFrom('jwt', 'api-key', 'anonymous'),
  })
  .map(testPrincipal);
const hierarchy = { admin: ['analyst'], analyst: ['viewer'] };

describe('the decision', () => {
  const held = (roles: string[], scopes: string[] = []) => testPrincipal({ roles, scopes });
  it.each<[string, Principal, AccessRule | 'deny', boolean]>([
    ['everybody authenticated by an empty rule', held([]), {}, true],
    ['nobody anonymous by an empty rule', anonymous, {}, false],
    ['anonymous callers when said explicitly', anonymous, { allowAnonymous: true }, true],
    ['nobody by deny', held(['admin'], ['a']), 'deny', false],
    ['one of several roles', held(['b']), { roles: ['a', 'b'] }, true],
    ['an inherited role', held(['admin']), { roles: ['viewer'] }, true],
    ['no role that merely inherits the wanted one', held(['viewer']), { roles: ['admin'] }, false],
    ['a role by exact name only', held(['Admin']), { roles: ['admin'] }, false],
    ['no role from a prototype', held([]), { roles: ['constructor'] }, false],
    ['all scopes together', held([], ['a', 'b', 'c']), { scopes: ['a', 'b'] }, true],
    ['not a part of the scopes', held([], ['a']), { scopes: ['a', 'b'] }, false],
    ['no scopes in place of a role', held([], ['a']), { roles: ['a'] }, false],
    ['not an anonymous caller with roles', { ...anonymous, roles: ['admin'] }, { roles: ['admin'] }, false],
  ])('admits %s', (_name, who, what, allowed) => {
    expect(decide(who, what, new RoleHierarchy(hierarchy)).allowed).toBe(allowed);
  });

  it('names missing scopes only when they are all that an authenticated caller lacks', () => {
    fc.assert(
      fc.property(principal, rule, (who, what) => {
        const decision = decide(who, what);
        if (decision.allowed || decision.scopes === undefined) return;
        const { scopes: _scopes, ...rest } = what;
        expect(who.authentication).not.toBe('anonymous');
        expect(decide(who, rest).allowed).toBe(true);
        expect(decide({ ...who, scopes: [...who.scopes, ...decision.scopes.missing] }, what).allowed).toBe(true);
      }),
    );
  });
});

describe('the same decision everywhere', () => {
  it('lists exactly what can be used, for every caller and every rule', async () => {
    const rules = fc.array(fc.option(rule, { nil: undefined }), { minLength: 1, maxLength: 5 });
    await fc.assert(
      fc.asyncProperty(
        rules,
        fc.option(rule, { nil: 'deny' as const }),
        principal,
        fc.integer({ min: 1, max: 3 }),
        async (all, defaultAccess, who, pageSize) => {
          const registry = new AuthenticatedToolRegistry({ name: 'r', version: '1', defaultAccess, roles: hierarchy, pageSize });
          for (const [index, access] of all.entries()) {
            const rest = access === undefined ? {} : { access };
            registry.tool(`t${index}`, rest, () => 'ran');
            registry.resource(`fixed://r${index}`, { name: 'r', ...rest }, () => 'read');
            registry.resourceTemplate(`made://r${index}/{id}`, { name: 'r', ...rest, complete: { id: () => ['x'] } }, () => 'read');
            registry.prompt(
              `p${index}`,
              { arguments: z.object({ id: z.string().optional() }), complete: { id: () => ['x'] }, ...rest },
              () => 'got',
            );
          }
          const ask = asking(registry);
          const context = testContext({ principal: who });
          const listed = async (method: string, kind: string, key: string) => {
            const names: unknown[] = [];
            for (let params: JsonObject | undefined = {}; params !== undefined; ) {
              const { nextCursor, ...result } = await ask(method, params, context);
              names.push(...(result[kind] as JsonObject[]).map((entry) => entry[key]));
              params = nextCursor === undefined ? undefined : { cursor: nextCursor };
              // A cursor that does not move on must fail here, not run for ever.
              expect(names.length).toBeLessThanOrEqual(all.length);
            }
            return names;
          };
          const usable = async (names: string[], method: string, params: (name: string) => JsonObject) => {
            const passed: string[] = [];
            for (const name of names) {
              await ask(method, params(name), context).then(
                () => passed.push(name),
                (error: { code: string }) => expect(['invalid_params', 'resource_not_found', 'insufficient_scope']).toContain(error.code),
              );
            }
            return passed;
          };
          const names = (name: (index: number) => string) => all.map((_rule, index) => name(index));

          const tools = await listed('tools/list', 'tools', 'name');
          expect(
            await usable(
              names((i) => `t${i}`),
              'tools/call',
              (name) => ({ name }),
            ),
          ).toEqual(tools);
          const uris = await listed('resources/list', 'resources', 'uri');
          for (const method of ['resources/read', 'resources/subscribe']) {
            expect(
              await usable(
                names((i) => `fixed://r${i}`),
                method,
                (uri) => ({ uri }),
              ),
            ).toEqual(uris);
          }
          const templates = await listed('resources/templates/list', 'resourceTemplates', 'uriTemplate');
          const all_templates = names((i) => `made://r${i}/{id}`);
          expect(await usable(all_templates, 'resources/read', (t) => ({ uri: t.replace('{id}', '7') }))).toEqual(templates);
          const argument = { name: 'id', value: '' };
          expect(await usable(all_templates, 'completion/complete', (uri) => ({ ref: { type: 'ref/resource', uri }, argument }))).toEqual(
            templates,
          );
          const prompts = await listed('prompts/list', 'prompts', 'name');
          expect(
            await usable(
              names((i) => `p${i}`),
              'prompts/get',
              (name) => ({ name }),
            ),
          ).toEqual(prompts);
          expect(
            await usable(
              names((i) => `p${i}`),
              'completion/complete',
              (name) => ({ ref: { type: 'ref/prompt', name }, argument }),
            ),
          ).toEqual(prompts);
        },
      ),
      { numRuns: 60 },
    );
  });
});

describe('a denied caller', () => {
  function secured(access?: AccessRule) {
    const setup = setUp();
    const rest = access === undefined ? {} : { access };
    setup.registry.tool('secret', { ...rest, input: z.object({ id: z.string() }) }, () => 'ran');
    setup.registry.resource('x://secret', { name: 's', ...rest }, () => 'read');
    setup.registry.prompt('secret', { ...rest, complete: {} }, () => 'got');
    return setup;
  }
  const uses: [string, (name: string) => JsonObject, string][] = [
    ['tools/call', (name) => ({ name, arguments: 'malformed' }), 'tool.denied'],
    ['tools/call', (name) => ({ name, inputResponses: 'malformed' }), 'tool.denied'],
    ['resources/read', (name) => ({ uri: `x://${name}` }), 'resource.denied'],
    ['resources/subscribe', (name) => ({ uri: `x://${name}` }), 'resource.denied'],
    ['prompts/get', (name) => ({ name, arguments: 5 }), 'prompt.denied'],
  ];

  it.each(uses)('cannot tell a denied entry from one that does not exist: %s', async (method, params, type) => {
    const { ask, audit } = secured({ roles: ['admin'], scopes: ['all'] });
    const context = as({ roles: ['viewer'] });
    const seen = [];
    for (const name of ['secret', 'absent']) {
      const { code, message, error } = await refusal(ask(method, params(name), context));
      seen.push(JSON.stringify([code, message, error.data, error.headers]).replaceAll(name, 'NAME'));
    }
    expect(seen[0]).toBe(seen[1]);
    const reasons = audit.events.filter((event) => event.type === type).map((event) => event.reason);
    expect(reasons).toEqual(['has none of the roles: admin', expect.stringMatching(/^unknown /)]);
  });

  it('is told what scopes are needed, all of them, when nothing else is missing', async () => {
    const { ask, audit } = secured({ roles: ['agent'], scopes: ['orders:read', 'orders:write'] });
    const context = as({ roles: ['agent'], scopes: ['orders:read'] });
    for (const [method, params] of [
      ['tools/call', { name: 'secret' }],
      ['resources/read', { uri: 'x://secret' }],
      ['prompts/get', { name: 'secret' }],
    ] as const) {
      const { code, error } = await refusal(ask(method, params, context));
      expect(code).toBe('insufficient_scope');
      expect(error.headers).toEqual({ 'www-authenticate': 'Bearer error="insufficient_scope", scope="orders:read orders:write"' });
      expect(error.data).toEqual({ requiredScopes: ['orders:read', 'orders:write'] });
      expect(audit.events.at(-1)).toMatchObject({ outcome: 'denied', reason: 'lacks the scopes: orders:write' });
    }
    expect((await ask('tools/list', {}, context)).tools).toEqual([]);
  });

  it('is told of the scopes of the default rule too', async () => {
    const { registry, ask } = setUp({ defaultAccess: { scopes: ['a'] } });
    registry.tool('t', {}, () => 'ran');
    expect(await refusal(ask('tools/call', { name: 't' }))).toMatchObject({ code: 'insufficient_scope' });
  });

  it.each<[string, AccessRule | 'deny' | undefined, string[], string[]]>([
    ['absent, admits the authenticated', undefined, ['open'], ['open', 'plain']],
    ['deny, admits nobody', 'deny', ['open'], ['open']],
    ['anonymous, admits everybody', { allowAnonymous: true }, ['open', 'plain'], ['open', 'plain']],
  ])('meets the default rule: %s', async (_name, defaultAccess, forAnonymous, forAlice) => {
    const { registry, ask } = setUp(defaultAccess === undefined ? {} : { defaultAccess });
    registry.tool('plain', {}, () => 'ran');
    registry.tool('open', { access: { allowAnonymous: true } }, () => 'ran');
    const names = async (who: Principal) =>
      ((await ask('tools/list', {}, testContext({ principal: who }))).tools as JsonObject[]).map((t) => t.name);
    expect(await names(anonymous)).toEqual(forAnonymous);
    expect(await names(testPrincipal())).toEqual(forAlice);
  });
});

it.each(['__proto__', 'constructor', 'toString', 'hasOwnProperty', '', ' ', '\0', 'a'.repeat(100_000)])(
  'an unknown name is just unknown: %j',
  async (name) => {
    const { registry, ask } = setUp();
    registry.tool('t', {}, () => 'ran');
    registry.prompt('p', {}, () => 'got');
    registry.resource('x://r', { name: 'r' }, () => 'read');
    const { code, message } = await refusal(ask('tools/call', { name }));
    expect([code, message.startsWith('Unknown tool: ')]).toEqual(['invalid_params', true]);
    expect(message.length).toBeLessThan(300);
    expect((await refusal(ask('prompts/get', { name }))).code).toBe('invalid_params');
    expect((await refusal(ask('resources/read', { uri: name }))).code).toBe('resource_not_found');
    expect((await refusal(ask(name))).code).toBe('method_not_found');
  },
);

it('a tool may be called __proto__', async () => {
  const { registry, ask } = setUp();
  registry.tool('__proto__', {}, () => 'ran');
  expect(await ask('tools/call', { name: '__proto__' })).toMatchObject({ content: [{ text: 'ran' }] });
});

it('a principal who has expired gets nothing, not even a list', async () => {
  const { registry, ask, clock, audit } = setUp();
  registry.tool('t', {}, () => 'ran');
  const context = as({ expiresAt: clock.now() + 1000 });
  expect((await ask('tools/list', {}, context)).tools).toHaveLength(1);
  await clock.advance(1000);
  for (const method of ['tools/list', 'tools/call', 'completion/complete']) {
    const { code, error } = await refusal(ask(method, { name: 't' }, context));
    expect([code, error.headers?.['www-authenticate']]).toEqual(['unauthenticated', expect.stringContaining('invalid_token')]);
    expect(audit.events.at(-1)).toMatchObject({ type: 'auth.failed', outcome: 'denied', actor: 'alice', target: method });
  }
});

describe('a rule is refused with the reason when', () => {
  it.each<[string, unknown, string]>([
    ['it is no object', 'admin', ''],
    ['it is null', null, ''],
    ['a member is misspelt', { role: ['admin'] }, '.role'],
    ['roles are empty', { roles: [] }, '.roles'],
    ['roles are a string', { roles: 'admin' }, '.roles'],
    ['a role is empty', { roles: [''] }, '.roles[0]'],
    ['a scope has a quote', { scopes: ['a', 'b"'] }, '.scopes[1]'],
    ['a scope breaks the line', { scopes: ['a\r\nx: y'] }, '.scopes[0]'],
    ['allowAnonymous is false', { allowAnonymous: false }, '.allowAnonymous'],
    ['it is a list of none', [], ''],
    ['it is a list of nothing but denials', [{ effect: 'deny', users: ['mallory'] }], ''],
    ['users are empty', { users: [] }, '.users'],
    ['attributes are empty', { attributes: {} }, '.attributes'],
    ['an attribute is wanted to be an object', { attributes: { a: { b: 1 } } }, '.attributes.a'],
    ['arguments are a list', { arguments: ['a'] }, '.arguments'],
    ['no value is wanted', { arguments: { a: [] } }, '.arguments.a'],
    ['the effect is unknown', { effect: 'refuse', roles: ['a'] }, '.effect'],
    ['there are no hours', { time: [] }, '.time'],
    ['the time zone is missing', { time: { from: '08:00' } }, '.time.timeZone'],
    ['the time zone is unknown', { time: { timeZone: 'Europe/Atlantis' } }, '.time.timeZone'],
    ['an hour is none', { time: { timeZone: 'UTC', from: '8:00' } }, '.time.from'],
    ['a window begins at midnight of the next day', { time: { timeZone: 'UTC', from: '24:00' } }, '.time.from'],
    ['a minute is none', { time: { timeZone: 'UTC', to: '12:60' } }, '.time.to'],
    ['a window is empty', { time: { timeZone: 'UTC', from: '12:00', to: '12:00' } }, '.time.to'],
    ['a day is unknown', { time: [{ timeZone: 'UTC', days: ['mon', 'friday'] }] }, '.time[0].days[1]'],
    ['no day is named', { time: { timeZone: 'UTC', days: [] } }, '.time.days'],
    ['a member of a window is misspelt', { time: { zone: 'UTC', timeZone: 'UTC' } }, '.time.zone'],
    ['allowAnonymous stands beside roles', { allowAnonymous: true, roles: ['a'] }, '.allowAnonymous'],
  ])('%s', (_name, access, member) => {
    const { registry } = setUp();
    expect(() => registry.tool('t', { access: access as AccessRule }, () => 'x')).toThrow(
      expect.objectContaining({ code: 'invalid_configuration', option: `tool 't'.access${member}` }),
    );
    expect(() => setUp({ defaultAccess: access as AccessRule })).toThrow(expect.objectContaining({ option: `defaultAccess${member}` }));
  });

  it.each<[string, unknown, string]>([
    ['a rule of a list is bad, by its place', [{}, { roles: [] }], '[1].roles'],
    ['a denial denies everybody', [{}, { effect: 'deny' }], '[1]'],
    ['a denial is for the anonymous', [{}, { effect: 'deny', allowAnonymous: true }], '[1]'],
  ])('%s', (_name, access, member) => {
    expect(() => setUp().registry.tool('t', { access: access as Access }, () => 'x')).toThrow(
      expect.objectContaining({ code: 'invalid_configuration', option: `tool 't'.access${member}` }),
    );
  });

  it('the rule object changes after registration, which changes nothing', async () => {
    const { registry, ask } = setUp();
    const roles = ['admin'];
    registry.tool('t', { access: { roles } }, () => 'ran');
    roles.push('viewer');
    expect((await refusal(ask('tools/call', { name: 't' }, as({ roles: ['viewer'] })))).code).toBe('invalid_params');
  });
});

it.each<[string, Record<string, string[]>]>([
  ['itself', { a: ['a'] }],
  ['itself through others', { a: ['b'], b: ['c'], c: ['a'] }],
])('a role cannot include %s', (_name, roles) => {
  expect(() => setUp({ roles })).toThrow(expect.objectContaining({ code: 'invalid_configuration', option: 'roles.a' }));
});

it.each<[string, object, string]>([
  ['an empty name', { name: '' }, 'name'],
  ['no version', { version: undefined }, 'version'],
  ['a page of none', { pageSize: 0 }, 'pageSize'],
  ['a page of a fraction', { pageSize: 1.5 }, 'pageSize'],
  ['a negative lifetime', { listTtlMs: -1 }, 'listTtlMs'],
  ['no room for arguments', { maxArgumentBytes: 1 }, 'maxArgumentBytes'],
  ['no depth for arguments', { maxArgumentDepth: 0 }, 'maxArgumentDepth'],
  ['an unknown capability', { capabilities: ['tasks'] }, 'capabilities[0]'],
  ['roles that are no lists', { roles: { a: 'b' } }, 'roles.a'],
])('a registry is refused with the reason: %s', (_name, options, option) => {
  expect(() => setUp(options)).toThrow(expect.objectContaining({ code: 'invalid_configuration', option }));
});
