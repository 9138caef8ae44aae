import type { JsonObject } from '@mcp-blocks/core';
import { settle, testContext, testPrincipal } from '@mcp-blocks/core/testing';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import type { DecisionAnswer, DecisionPoint, DecisionRequest } from '../src/index.js';
import { as, refusal, setUp } from './fixtures.js';

/** A decision point that records what it was asked. */
function deciding(answer: (request: DecisionRequest) => unknown) {
  const asked: DecisionRequest[] = [];
  const point: DecisionPoint = {
    decide: async (request) => {
      asked.push(request);
      return (await answer(request)) as DecisionAnswer;
    },
  };
  return { point, asked };
}
const shown = ({ action, entry, arguments: args }: DecisionRequest) => [action, entry.kind, entry.key, args];
const allow = () => ({ allow: true });

function withEntries(point: DecisionPoint, options = {}) {
  const setup = setUp({ decisionPoint: point, ...options });
  const { registry } = setup;
  registry.tool('plain', {}, () => 'ran');
  registry.tool('pay', { input: z.object({ amount: z.coerce.number() }) }, () => 'paid');
  registry.tool('admin', { access: { roles: ['admin'] } }, () => 'ran');
  registry.resource('x://fixed', { name: 'r' }, () => 'read');
  registry.resourceTemplate('db://{id}', { name: 'r', complete: { id: () => ['7'] } }, () => 'read');
  registry.prompt('ask', { arguments: z.object({ topic: z.string() }), complete: { topic: () => ['x'] } }, () => 'got');
  const names = async (context = testContext()) =>
    ((await setup.ask('tools/list', {}, context)).tools as JsonObject[]).map((tool) => tool.name);
  return { ...setup, names };
}

describe('a decision point is asked', () => {
  it.each<[string, JsonObject, unknown[][]]>([
    ['tools/call', { name: 'plain' }, [['call', 'tool', 'plain', undefined]]],
    [
      'tools/call',
      { name: 'pay', arguments: { amount: '5' } },
      [
        ['call', 'tool', 'pay', undefined],
        ['call', 'tool', 'pay', { amount: 5 }],
      ],
    ],
    ['resources/read', { uri: 'x://fixed' }, [['read', 'resource', 'x://fixed', undefined]]],
    [
      'resources/subscribe',
      { uri: 'db://7' },
      [
        ['read', 'resource template', 'db://{id}', undefined],
        ['read', 'resource template', 'db://{id}', { id: '7' }],
      ],
    ],
    [
      'prompts/get',
      { name: 'ask', arguments: { topic: 'tea' } },
      [
        ['get', 'prompt', 'ask', undefined],
        ['get', 'prompt', 'ask', { topic: 'tea' }],
      ],
    ],
    [
      'completion/complete',
      { ref: { type: 'ref/prompt', name: 'ask' }, argument: { name: 'topic', value: '' } },
      [['get', 'prompt', 'ask', undefined]],
    ],
    [
      'tools/list',
      {},
      [
        ['call', 'tool', 'pay', undefined],
        ['call', 'tool', 'plain', undefined],
      ],
    ],
    ['tools/call', { name: 'absent' }, []],
    ['tools/call', { name: 'admin' }, []],
  ])('for %s of %j: about what the rules allow, the entry first, then with arguments if it takes any', async (method, params, expected) => {
    const { point, asked } = deciding(allow);
    const { ask } = withEntries(point);
    await ask(method, params).catch(() => {});
    expect(asked.map(shown)).toEqual(expected);
  });

  it('with who, when and from where', async () => {
    const { point, asked } = deciding(allow);
    const { ask, clock } = withEntries(point);
    const principal = testPrincipal({ id: 'eve', roles: ['agent'] });
    await ask('tools/call', { name: 'plain' }, testContext({ principal, transport: 'http', remoteAddress: '10.0.0.7' }));
    expect(asked[0]).toMatchObject({ principal, environment: { time: clock.now(), transport: 'http', remoteAddress: '10.0.0.7' } });
  });
});

describe('what it denies', () => {
  it('is not listed and does not exist', async () => {
    const { point } = deciding(({ entry }) => ({ allow: entry.key !== 'pay', reason: 'no budget' }));
    const { ask, names, audit } = withEntries(point);
    expect(await names()).toEqual(['plain']);
    expect(await refusal(ask('tools/call', { name: 'pay', arguments: 'malformed' }))).toMatchObject({ message: 'Unknown tool: pay' });
    expect(audit.events.at(-1)).toMatchObject({ type: 'tool.denied', reason: 'the decision point denied: no budget' });
  });

  it('for its arguments is listed, and refused', async () => {
    const { point } = deciding(({ arguments: args }) => ({ allow: args?.amount !== 5 && args?.id !== '5' }));
    const { ask, names, audit } = withEntries(point);
    expect(await names()).toEqual(['pay', 'plain']);
    expect((await refusal(ask('tools/call', { name: 'pay', arguments: { amount: '5' } }))).code).toBe('forbidden');
    expect(audit.events.at(-1)).toMatchObject({ type: 'tool.denied', outcome: 'denied', reason: 'the decision point denied' });
    await ask('tools/call', { name: 'pay', arguments: { amount: 4 } });
    expect((await refusal(ask('resources/read', { uri: 'db://5' }))).code).toBe('resource_not_found');
    await ask('resources/read', { uri: 'db://4' });
  });

  it('does not tell of missing scopes either', async () => {
    for (const [allowed, code] of [
      [true, 'insufficient_scope'],
      [false, 'invalid_params'],
    ] as const) {
      const { registry, ask } = setUp({ decisionPoint: deciding(() => ({ allow: allowed })).point });
      registry.tool('t', { access: { scopes: ['a'] } }, () => 'x');
      expect((await refusal(ask('tools/call', { name: 't' }))).code).toBe(code);
    }
  });

  it('and what the rules deny it cannot allow', async () => {
    const { names, ask } = withEntries(deciding(allow).point);
    expect(await names()).toEqual(['pay', 'plain']);
    expect((await refusal(ask('tools/call', { name: 'admin' }))).code).toBe('invalid_params');
    expect(await names(as({ roles: ['admin'] }))).toEqual(['admin', 'pay', 'plain']);
  });
});

it('step-up can depend on the arguments', async () => {
  const { registry, ask, audit } = setUp();
  const access = [{ arguments: { size: 'small' } }, { scopes: ['big'] }];
  registry.tool('t', { access, input: z.object({ size: z.string() }) }, () => 'ran');
  expect((await ask('tools/list')).tools).toHaveLength(1);
  await ask('tools/call', { name: 't', arguments: { size: 'small' } });
  const { code, error } = await refusal(ask('tools/call', { name: 't', arguments: { size: 'large' } }));
  expect([code, error.headers]).toEqual(['insufficient_scope', { 'www-authenticate': 'Bearer error="insufficient_scope", scope="big"' }]);
  expect(audit.events.at(-1)).toMatchObject({ type: 'tool.denied', outcome: 'denied' });
});

describe('a decision point that fails denies', () => {
  it.each<[string, () => unknown, string]>([
    ['by throwing', () => Promise.reject(new Error('store down')), 'store down'],
    ['by throwing no error', () => Promise.reject('gone'), 'gone'],
    ['by answering nothing', () => undefined, 'an answer without allow: true or allow: false'],
    ['by answering something true', () => ({ allow: 'true' }), 'an answer without allow: true or allow: false'],
    ['by answering true alone', () => true, 'an answer without allow: true or allow: false'],
  ])('%s', async (_name, answer, reason) => {
    const { ask, names, audit, errors } = withEntries(deciding(answer).point, { listTtlMs: 60_000 });
    expect(await refusal(ask('tools/call', { name: 'plain' }))).toMatchObject({ message: 'Unknown tool: plain' });
    expect(audit.events.at(-1)).toMatchObject({ type: 'tool.denied', reason: `the decision point failed: ${reason}` });
    expect(errors.at(-1)?.message).toBe(reason);
    expect(await names()).toEqual([]);
    expect(audit.events.at(-1)).toMatchObject({
      type: 'list.failed',
      outcome: 'failed',
      target: 'tools/list',
      reason: expect.stringContaining(reason),
    });
    expect(await ask('tools/list')).toMatchObject({ ttlMs: 0 });
  });

  it('by not answering in time, and is told that nobody waits any more', async () => {
    let aborted = false;
    const point: DecisionPoint = {
      decide: (_request, signal) =>
        new Promise(() => {
          signal.addEventListener('abort', () => (aborted = true));
        }),
    };
    const { ask, clock, audit } = withEntries(point, { decisionTimeoutMs: 500 });
    const call = refusal(ask('tools/call', { name: 'plain' }));
    await clock.advance(499);
    expect(aborted).toBe(false);
    await clock.advance(1);
    expect((await call).code).toBe('invalid_params');
    expect(aborted).toBe(true);
    expect(audit.events.at(-1)?.reason).toBe('the decision point failed: no answer within 500 ms');
    expect(clock.pendingTimers).toBe(0);
  });

  it('for a whole list after one round of failures', async () => {
    const { point, asked } = deciding(() => Promise.reject(new Error('down')));
    const { registry, ask } = setUp({ decisionPoint: point });
    for (let index = 0; index < 50; index += 1) registry.tool(`t${index}`, {}, () => 'x');
    expect((await ask('tools/list')).tools).toEqual([]);
    expect(asked).toHaveLength(16);
  });
});

describe('lists', () => {
  it('ask at most 16 at a time, and keep order and pages', async () => {
    let open = 0;
    let most = 0;
    const { point } = deciding(async ({ entry }) => {
      open += 1;
      most = Math.max(most, open);
      await settle();
      open -= 1;
      return { allow: Number(entry.key.slice(1)) % 3 !== 0 };
    });
    const { registry, ask } = setUp({ decisionPoint: point, pageSize: 20 });
    for (let index = 100; index < 160; index += 1) registry.tool(`t${index}`, {}, () => 'x');
    const first = await ask('tools/list');
    const second = await ask('tools/list', { cursor: first.nextCursor });
    const listed = [...(first.tools as JsonObject[]), ...(second.tools as JsonObject[])].map((tool) => tool.name);
    expect(first.tools).toHaveLength(20);
    expect(second.nextCursor).toBeUndefined();
    expect(listed).toEqual(Array.from({ length: 60 }, (_x, index) => `t${100 + index}`).filter((name) => Number(name.slice(1)) % 3 !== 0));
    expect(most).toBe(16);
  });

  it('ask once for a page where many can be asked at once', async () => {
    const batches: number[] = [];
    const point: DecisionPoint = {
      decide: () => Promise.reject(new Error('not to be asked')),
      decideMany: async (requests) => {
        batches.push(requests.length);
        return requests.map(({ entry }) => ({ allow: entry.key !== 'pay' }));
      },
    };
    expect(await withEntries(point).names()).toEqual(['plain']);
    expect(batches).toEqual([2]);
    const short = withEntries({ ...point, decideMany: async () => [{ allow: true }] });
    expect(await short.names()).toEqual([]);
    expect(short.audit.events.at(-1)?.reason).toBe('the decision point failed: expected 2 answers');
  });
});

it.each<[string, object, string]>([
  ['that is none', { decisionPoint: {} }, 'decisionPoint'],
  ['without time', { decisionTimeoutMs: 0 }, 'decisionTimeoutMs'],
])('a decision point %s is refused at start', (_name, options, option) => {
  expect(() => setUp(options)).toThrow(expect.objectContaining({ code: 'invalid_configuration', option }));
});
