import { anonymous, type JsonObject, type Principal } from '@mcp-blocks/core';
import { ManualClock, testContext, testPrincipal } from '@mcp-blocks/core/testing';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { type Access, AccessPolicy, type AccessRule, type TimeWindow } from '../src/index.js';
import { as, refusal, setUp } from './fixtures.js';

const alice = testPrincipal({
  id: 'alice',
  roles: ['agent'],
  scopes: ['s'],
  attributes: { region: 'eu', groups: ['sales', 'support'], level: 3 },
});
const at = (time: number, args?: JsonObject, principal: Principal = alice) => ({
  principal,
  environment: { time, transport: 'http', remoteAddress: '10.0.0.7' },
  ...(args === undefined ? {} : { arguments: args }),
});
const admits = (access: Access | 'deny', args?: JsonObject, principal: Principal = alice) =>
  new AccessPolicy(access).decide(at(0, args, principal)).allowed;
const boom = () => {
  throw new Error('boom');
};

describe('a rule admits', () => {
  it.each<[string, Access, boolean]>([
    ['a user by id', { users: ['bob', 'alice'] }, true],
    ['no other user', { users: ['bob', 'Alice'] }, false],
    ['an attribute of the wanted value', { attributes: { region: 'eu' } }, true],
    ['an attribute of one of the wanted values', { attributes: { region: ['us', 'eu'], level: 3 } }, true],
    ['no attribute of another value', { attributes: { region: 'us' } }, false],
    ['no value of another type', { attributes: { level: '3' } }, false],
    ['not unless every attribute is as wanted', { attributes: { region: 'eu', level: 4 } }, false],
    ['an attribute that is a list with a wanted element', { attributes: { groups: ['support', 'admins'] } }, true],
    ['no list without one', { attributes: { groups: 'admins' } }, false],
    ['no absent attribute', { attributes: { absent: 'x' } }, false],
    ['no attribute of a prototype', { attributes: { constructor: 'x' } }, false],
    [
      'whom a function admits',
      { attributes: ({ principal, environment }) => principal.id === 'alice' && environment.transport === 'http' },
      true,
    ],
    ['nobody by a function that throws', { attributes: boom }, false],
    ['nobody by a function that answers something true', { attributes: (() => 'yes') as never }, false],
    ['nobody by a function that answers later', { attributes: (() => Promise.resolve(true)) as never }, false],
    ['nobody by a function that fails later', { attributes: (() => Promise.reject(new Error('later'))) as never }, false],
    ['whom one of several rules admits', [{ users: ['bob'] }, { roles: ['agent'] }], true],
    ['nobody none of them admits', [{ users: ['bob'] }, { roles: ['admin'] }], false],
    ['not whom a denial matches', [{}, { effect: 'deny', users: ['alice'] }], false],
    ['not whom a denial matches, wherever it stands', [{ effect: 'deny', attributes: { region: 'eu' } }, {}], false],
    ['whom a denial matches in part only', [{}, { effect: 'deny', users: ['alice'], roles: ['admin'] }], true],
    ['nobody when a denying function throws', [{}, { effect: 'deny', attributes: boom }], false],
    ['nobody when a denying function answers neither', [{}, { effect: 'deny', attributes: (() => undefined) as never }], false],
    ['whom a denying function lets pass', [{}, { effect: 'deny', attributes: () => false }], true],
  ])('%s', (_name, access, allowed) => {
    expect(admits(access)).toBe(allowed);
  });

  it.each<[string, AccessRule, JsonObject, boolean]>([
    ['the wanted value', { arguments: { region: ['eu', 'us'] } }, { region: 'eu' }, true],
    ['no other value', { arguments: { region: 'us' } }, { region: 'eu' }, false],
    ['no absent argument', { arguments: { region: 'eu' } }, {}, false],
    ['no list that holds the value', { arguments: { region: 'eu' } }, { region: ['eu', 'us'] }, false],
    ['what a function admits', { arguments: ({ amount }) => (amount as number) < 10 }, { amount: 9 }, true],
    ['not what it does not', { arguments: ({ amount }) => (amount as number) < 10 }, { amount: 10 }, false],
    ['nothing by a function that throws', { arguments: boom }, {}, false],
  ])('arguments with %s', (_name, rule, args, allowed) => {
    expect(admits(rule, args)).toBe(allowed);
  });

  it('anonymous callers under conditions', () => {
    const access: Access = [{ allowAnonymous: true, attributes: ({ environment }) => environment.remoteAddress === '10.0.0.7' }];
    expect(admits(access, undefined, anonymous)).toBe(true);
    expect(admits({ attributes: () => true }, undefined, anonymous)).toBe(false);
    expect(admits([{ allowAnonymous: true }, { effect: 'deny', attributes: () => true }], undefined, anonymous)).toBe(false);
  });

  it('says in the reason what each rule wants', () => {
    const access: Access = [{ roles: ['admin'] }, { users: ['bob'] }, { scopes: ['a'] }];
    expect(new AccessPolicy(access).decide(at(0))).toEqual({
      allowed: false,
      reason: 'has none of the roles: admin; is none of the users; lacks the scopes: a',
      scopes: { missing: ['a'], required: ['a'] },
    });
    expect(new AccessPolicy([{ scopes: ['a'] }, { effect: 'deny', users: ['alice'] }]).decide(at(0))).toEqual({
      allowed: false,
      reason: 'refused by the rule {"effect":"deny","users":["alice"]}',
    });
  });
});

describe('hours', () => {
  const open = (window: TimeWindow, iso: string) => new AccessPolicy({ time: window }).decide(at(Date.parse(iso))).allowed;
  const office: TimeWindow = { days: ['mon', 'tue', 'wed', 'thu', 'fri'], from: '09:00', to: '17:00', timeZone: 'Europe/Berlin' };
  const night: TimeWindow = { days: ['fri'], from: '22:00', to: '06:00', timeZone: 'America/New_York' };
  // Clocks in Berlin: 2026-03-29 02:00 → 03:00, 2026-10-25 03:00 → 02:00.
  const twoToThree: TimeWindow = { from: '02:00', to: '03:00', timeZone: 'Europe/Berlin' };
  it.each<[string, TimeWindow, string, boolean]>([
    ['begin inclusive', office, '2026-01-05T08:00:00Z', true],
    ['not a moment before', office, '2026-01-05T07:59:59.999Z', false],
    ['end exclusive', office, '2026-01-05T16:00:00Z', false],
    ['last until then', office, '2026-01-05T15:59:59.999Z', true],
    ['move with summer time', office, '2026-07-06T07:00:00Z', true],
    ['end earlier in summer', office, '2026-07-06T15:00:00Z', false],
    ['are of their days only', office, '2026-01-10T10:00:00Z', false],
    ['go over midnight: the evening', night, '2026-01-10T03:30:00Z', true],
    ['go over midnight: the morning after', night, '2026-01-10T10:59:00Z', true],
    ['go over midnight: not longer', night, '2026-01-10T11:00:00Z', false],
    ['go over midnight: not the morning of the day', night, '2026-01-09T10:00:00Z', false],
    ['go over midnight: not the evening after', night, '2026-01-11T03:30:00Z', false],
    ['are open all day without from and to', { days: ['sat'], timeZone: 'UTC' }, '2026-01-10T23:59:59.999Z', true],
    ['are of the local day', { days: ['sat'], timeZone: 'Pacific/Auckland' }, '2026-01-09T11:00:00Z', true],
    ['an hour that is not shown is not open', twoToThree, '2026-03-29T01:00:00Z', false],
    ['nor the moment before it', twoToThree, '2026-03-29T00:59:59Z', false],
    ['an hour shown twice is open the first time', twoToThree, '2026-10-25T00:30:00Z', true],
    ['and the second', twoToThree, '2026-10-25T01:30:00Z', true],
    ['and not the third', twoToThree, '2026-10-25T02:00:00Z', false],
    ['of a zone of half hours', { from: '09:00', to: '09:30', timeZone: 'Asia/Kolkata' }, '2026-01-05T03:59:00Z', true],
    ['on a Sunday night until Monday', { days: ['sun'], from: '23:00', to: '01:00', timeZone: 'UTC' }, '2026-01-05T00:30:00Z', true],
  ])('%s', (_name, window, iso, expected) => {
    expect(open(window, iso)).toBe(expected);
  });

  it('a window and the rest of the day and week share out all time', () => {
    const day = fc.constantFrom('mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun' as const);
    const minute = fc.integer({ min: 0, max: 1439 });
    const text = (value: number) => `${String(Math.floor(value / 60)).padStart(2, '0')}:${String(value % 60).padStart(2, '0')}`;
    fc.assert(
      fc.property(
        fc.constantFrom('UTC', 'Europe/Berlin', 'America/New_York', 'Australia/Lord_Howe'),
        fc.tuple(minute, minute).filter(([a, b]) => a !== b),
        fc.uniqueArray(day, { minLength: 1 }),
        fc.integer({ min: 0, max: 4_102_444_800_000 }),
        (timeZone, [a, b], days, time) => {
          const [from, to] = [text(a), text(b)];
          const every = new AccessPolicy({ time: { from, to, timeZone } });
          const rest = new AccessPolicy({ time: { from: to, to: from, timeZone } });
          expect(rest.decide(at(time)).allowed).toBe(!every.decide(at(time)).allowed);
          const some = days as NonNullable<TimeWindow['days']>;
          const others = (['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'] as const).filter((one) => !some.includes(one));
          const parts = [some, others].filter((part) => part.length > 0).map((part) => ({ days: part, from, to, timeZone }));
          const openParts = parts.filter((part) => new AccessPolicy({ time: part }).decide(at(time)).allowed);
          expect(openParts).toHaveLength(every.decide(at(time)).allowed ? 1 : 0);
        },
      ),
    );
  });

  it('close an entry in front of the same caller, in lists and calls', async () => {
    const clock = new ManualClock(Date.parse('2026-01-05T15:59:00Z'));
    const { registry, ask } = setUp({ clock });
    registry.tool('t', { access: { time: office } }, () => 'ran');
    expect((await ask('tools/list')).tools).toHaveLength(1);
    await ask('tools/call', { name: 't' });
    await clock.advance(60_000);
    expect((await ask('tools/list')).tools).toEqual([]);
    expect(await refusal(ask('tools/call', { name: 't' }))).toMatchObject({ code: 'invalid_params', message: 'Unknown tool: t' });
  });
});

describe('rules about arguments', () => {
  const limited: Access = [{ arguments: ({ amount }) => (amount as number) <= 100 }, { effect: 'deny', arguments: { account: 'frozen' } }];

  function withEntries(access: Access = limited) {
    const setup = setUp();
    const calls: unknown[] = [];
    const input = z.object({ amount: z.coerce.number(), account: z.string().trim().default('main') });
    setup.registry.tool('pay', { access, input }, (args) => {
      calls.push(args);
      return 'paid';
    });
    setup.registry.prompt('pay', { access, arguments: input }, () => 'how to pay');
    setup.registry.resourceTemplate('db://{account}/{amount}', { name: 'x', access }, () => 'read');
    return { ...setup, calls };
  }

  it('do not hide an entry, and refuse a call, with a reason for the trail only', async () => {
    const { ask, audit, calls } = withEntries();
    expect((await ask('tools/list')).tools).toHaveLength(1);
    expect((await ask('prompts/list')).prompts).toHaveLength(1);
    expect((await ask('resources/templates/list')).resourceTemplates).toHaveLength(1);
    const before = audit.events.length;
    const refused = [
      await refusal(ask('tools/call', { name: 'pay', arguments: { amount: 101 } })),
      await refusal(ask('prompts/get', { name: 'pay', arguments: { amount: '5', account: 'frozen' } })),
      await refusal(ask('resources/read', { uri: 'db://frozen/7' })),
      await refusal(ask('resources/subscribe', { uri: 'db://frozen/7' })),
    ];
    expect(refused.map(({ code, message }) => [code, message])).toEqual([
      ['forbidden', 'Not allowed with these arguments'],
      ['forbidden', 'Not allowed with these arguments'],
      ['resource_not_found', 'Resource not found'],
      ['resource_not_found', 'Resource not found'],
    ]);
    expect(audit.events.slice(before).map(({ type, outcome, target, reason }) => [type, outcome, target, reason])).toEqual([
      ['tool.denied', 'denied', 'pay', 'the arguments are not as wanted (wrong)'],
      ['prompt.denied', 'denied', 'pay', expect.stringMatching(/^refused by the rule .*frozen/)],
      ['resource.denied', 'denied', 'db://frozen/7', expect.stringMatching(/frozen/)],
      ['resource.denied', 'denied', 'db://frozen/7', expect.stringMatching(/frozen/)],
    ]);
    expect(calls).toEqual([]);
    await ask('tools/call', { name: 'pay', arguments: { amount: 100 } });
    expect(calls).toEqual([{ amount: 100, account: 'main' }]);
  });

  it('see what the handler will get, not what the caller wrote', async () => {
    const { ask, calls } = withEntries();
    expect((await refusal(ask('tools/call', { name: 'pay', arguments: { amount: '5', account: ' frozen ' } }))).code).toBe('forbidden');
    expect(calls).toEqual([]);
  });

  it('come after the schema, whose problems are no secret from who may see the entry', async () => {
    const { ask } = withEntries();
    expect(await ask('tools/call', { name: 'pay', arguments: { amount: 'much' } })).toMatchObject({ isError: true });
    const { ask: asBob } = withEntries([{ users: ['bob'], arguments: () => true }]);
    expect(await refusal(asBob('tools/call', { name: 'pay', arguments: { amount: 'much' } }, as({ id: 'eve' })))).toMatchObject({
      message: 'Unknown tool: pay',
    });
  });

  it('an entry is listed exactly when it would be allowed if every function about arguments said what suits the caller', async () => {
    const answer = fc.boolean();
    const condition = fc.record({
      user: fc.option(fc.constantFrom('alice', 'bob'), { nil: undefined }),
      args: fc.option(answer, { nil: undefined }),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.array(condition, { minLength: 1, maxLength: 3 }),
        fc.array(
          condition.filter(({ user, args }) => (user ?? args) !== undefined),
          { maxLength: 3 },
        ),
        async (allow, deny) => {
          const make = (suits: boolean): Access => {
            const rule = (
              { user, args }: { user?: string | undefined; args?: boolean | undefined },
              effect: 'allow' | 'deny',
            ): AccessRule => ({
              effect,
              ...(user === undefined ? {} : { users: [user] }),
              ...(args === undefined ? {} : { arguments: () => (suits ? effect === 'allow' : args) }),
            });
            return [...deny.map((one) => rule(one, 'deny')), ...allow.map((one) => rule(one, 'allow'))];
          };
          const { registry, ask } = setUp();
          registry.tool('as_is', { access: make(false) }, () => 'x');
          registry.tool('at_best', { access: make(true) }, () => 'x');
          const listed = new Set(((await ask('tools/list', {}, testContext())).tools as JsonObject[]).map((tool) => tool.name));
          const callable = new Set<string>();
          for (const name of ['as_is', 'at_best']) {
            await ask('tools/call', { name }).then(
              () => callable.add(name),
              () => {},
            );
          }
          expect(listed.has('as_is')).toBe(callable.has('at_best'));
          expect(listed.has('at_best')).toBe(callable.has('at_best'));
          if (callable.has('as_is')) expect(listed.has('as_is')).toBe(true);
        },
      ),
    );
  });
});

it('the trail has rules as JSON, functions only by their presence', () => {
  const { registry, audit } = setUp();
  registry.tool(
    't',
    {
      access: [
        { users: ['a'], time: { timeZone: 'UTC' } },
        { effect: 'deny', arguments: () => true },
      ],
    },
    () => 'x',
  );
  expect(audit.events[0]?.details).toMatchObject({
    access: [
      { users: ['a'], time: [{ from: '00:00', to: '24:00', timeZone: 'UTC' }] },
      { effect: 'deny', arguments: '(function)' },
    ],
  });
});

it.each<[string, Access, boolean]>([
  ['for everybody', { allowAnonymous: true }, true],
  ['for everybody, among other rules', [{ roles: ['a'] }, { allowAnonymous: true }], true],
  ['for everybody at some hours', { allowAnonymous: true, time: { timeZone: 'UTC', to: '12:00' } }, false],
  ['for all but one', [{ allowAnonymous: true }, { effect: 'deny', users: ['mallory'] }], false],
])('shared caches may keep only what is readable %s', (_name, access, fine) => {
  const { registry } = setUp();
  const register = () => registry.resource('x://r', { name: 'r', access, cacheHint: { ttlMs: 1, cacheScope: 'public' } }, () => 'x');
  if (fine) expect(register).not.toThrow();
  else expect(register).toThrow(expect.objectContaining({ option: "resource 'x://r'.cacheHint.cacheScope" }));
});
