import { type AuditEvent, anonymous, type JsonObject, RpcError } from '@mcp-blocks/core';
import { settle, testContext } from '@mcp-blocks/core/testing';
import { describe, expect, it, vi } from 'vitest';
import { z } from 'zod';
import { ToolError } from '../src/index.js';
import { as, refusal, setUp } from './fixtures.js';

const executions = (events: readonly AuditEvent[]) => events.filter((event) => event.type !== 'registry.changed');
const trace = { traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01' };

describe('an execution leaves exactly one event', () => {
  it('with who, what, when, how long, over what, and no argument values', async () => {
    const { registry, ask, audit, clock } = setUp();
    const startedAt = clock.now();
    registry.tool('lookup', { input: z.object({ id: z.string(), card: z.string() }) }, async () => {
      await clock.advance(25);
      return 'ok';
    });
    const context = testContext({ transport: 'http', remoteAddress: '10.0.0.7', sessionId: 's1', trace });
    await ask('tools/call', { name: 'lookup', arguments: { id: '7', card: '4111-1111' } }, context);
    expect(executions(audit.events)).toEqual([
      {
        type: 'tool.call',
        time: startedAt + 25,
        outcome: 'succeeded',
        actor: 'alice',
        target: 'lookup',
        durationMs: 25,
        traceId: '0af7651916cd43dd8448eb211c80319c',
        transport: 'http',
        remoteAddress: '10.0.0.7',
        sessionId: 's1',
        details: { argumentKeys: ['card', 'id'] },
      },
    ]);
    expect(JSON.stringify(audit.events)).not.toContain('4111');
  });

  it.each<[string, () => string | Promise<string>, string]>([
    ['a ToolError', () => Promise.reject(new ToolError('Sold out')), 'tool error: Sold out'],
    ['an RpcError', () => Promise.reject(new RpcError('unavailable', 'Later', { auditReason: 'db down' })), 'db down'],
    ['an RpcError without a reason', () => Promise.reject(new RpcError('unavailable', 'Later')), 'Later'],
    ['another error', () => Promise.reject(new TypeError('x is not a function')), 'TypeError: x is not a function'],
    ['no error', () => Promise.reject('boom'), 'thrown: boom'],
    ['a bad result', () => 5 as unknown as string, 'Error: returned number, which is not a tool result'],
  ])('when the tool fails with %s', async (_name, handler, reason) => {
    const { registry, ask, audit } = setUp();
    registry.tool('t', {}, handler);
    await ask('tools/call', { name: 't' }).catch(() => {});
    expect(executions(audit.events)).toEqual([expect.objectContaining({ type: 'tool.call', outcome: 'failed', reason })]);
  });

  it.each<[string, string, JsonObject, Partial<AuditEvent>]>([
    ['a read', 'resources/read', { uri: 'x://good' }, { type: 'resource.read', outcome: 'succeeded', target: 'x://good' }],
    ['a failed read', 'resources/read', { uri: 'x://bad' }, { type: 'resource.read', outcome: 'failed', reason: 'Error: disk' }],
    ['a read of nothing', 'resources/read', { uri: 'x://none' }, { type: 'resource.read', outcome: 'failed' }],
    [
      'a prompt',
      'prompts/get',
      { name: 'good', arguments: { a: 'x' } },
      { type: 'prompt.get', outcome: 'succeeded', details: { argumentKeys: ['a'] } },
    ],
    ['a failed prompt', 'prompts/get', { name: 'bad' }, { type: 'prompt.get', outcome: 'failed', reason: 'Error: disk' }],
    ['bad arguments', 'prompts/get', { name: 'good' }, { type: 'prompt.get', outcome: 'failed', reason: 'invalid arguments' }],
    ['a subscription', 'resources/subscribe', { uri: 'x://good' }, { type: 'resource.subscribe', outcome: 'allowed' }],
    [
      'a denied subscription',
      'resources/subscribe',
      { uri: 'x://no' },
      { type: 'resource.denied', details: { method: 'resources/subscribe' } },
    ],
  ])('of %s', async (_name, method, params, expected) => {
    const { registry, ask, audit } = setUp();
    const bad = () => {
      throw new Error('disk');
    };
    registry.resource('x://good', { name: 'r' }, () => 'text');
    registry.resource('x://bad', { name: 'r' }, bad);
    registry.resource('x://none', { name: 'r' }, () => undefined);
    registry.prompt('good', { arguments: z.object({ a: z.string() }) }, () => 'text');
    registry.prompt('bad', {}, bad);
    await ask(method, params).catch(() => {});
    expect(executions(audit.events)).toEqual([expect.objectContaining(expected)]);
  });

  it('that says so when it ended by asking for input', async () => {
    const { registry, ask, audit } = setUp();
    registry.tool('t', {}, () => ({ resultType: 'input_required' as const, requestState: 's' }));
    await ask('tools/call', { name: 't' });
    expect(executions(audit.events)).toEqual([
      expect.objectContaining({ outcome: 'succeeded', details: { argumentKeys: [], resultType: 'input_required' } }),
    ]);
  });
});

describe('a caller who is gone', () => {
  it('is answered at once; the event says the handler was still at work, and its end adds none', async () => {
    const { registry, ask, audit, errors } = setUp();
    const controller = new AbortController();
    let fail = (_error: Error) => {};
    registry.tool('slow', {}, () => new Promise<string>((_resolve, reject) => (fail = reject)));
    const call = refusal(ask('tools/call', { name: 'slow' }, testContext({ signal: controller.signal })));
    await settle();
    controller.abort();
    expect(await call).toMatchObject({ code: 'cancelled', message: 'The request was cancelled' });
    fail(new Error('too late'));
    await settle();
    expect(executions(audit.events)).toEqual([
      expect.objectContaining({ outcome: 'failed', reason: 'cancelled; the handler was still at work' }),
    ]);
    expect(errors.map((error) => error.message)).toEqual(['too late']);
  });

  it('before the start runs nothing', async () => {
    const { registry, ask, audit } = setUp();
    let ran = false;
    registry.tool('t', {}, () => {
      ran = true;
      return 'x';
    });
    const { code } = await refusal(ask('tools/call', { name: 't' }, testContext({ signal: AbortSignal.abort() })));
    expect([code, ran]).toEqual(['cancelled', false]);
    expect(executions(audit.events)).toEqual([expect.objectContaining({ outcome: 'failed', reason: 'cancelled before it started' })]);
  });

  it('learns of the deadline when the listener aborted for that', async () => {
    const { registry, ask } = setUp();
    registry.tool('t', {}, () => 'x');
    const signal = AbortSignal.abort(new RpcError('timeout', 'Took longer than 5 s'));
    expect(await refusal(ask('tools/call', { name: 't' }, testContext({ signal })))).toMatchObject({
      code: 'timeout',
      message: 'Took longer than 5 s',
    });
  });

  it('leaves no listener on the signal when the call ends first', async () => {
    const { registry, ask } = setUp();
    registry.tool('t', {}, () => 'x');
    const { signal } = new AbortController();
    const added = vi.spyOn(signal, 'addEventListener');
    const removed = vi.spyOn(signal, 'removeEventListener');
    await ask('tools/call', { name: 't' }, testContext({ signal }));
    await settle();
    expect(added).toHaveBeenCalledOnce();
    expect(removed.mock.lastCall?.slice(0, 2)).toEqual(added.mock.lastCall?.slice(0, 2));
  });
});

describe('the trail', () => {
  it('has every change of the registry, with kind and rule', () => {
    const { registry, audit } = setUp();
    registry.tool('t', { access: { roles: ['admin'] } }, () => 'x').remove();
    registry.resourceTemplate('x://{id}', { name: 'r' }, () => 'x');
    expect(audit.events.map(({ type, outcome, actor, target, details }) => ({ type, outcome, actor, target, details }))).toEqual([
      {
        type: 'registry.changed',
        outcome: 'succeeded',
        actor: '-',
        target: 't',
        details: { kind: 'tool', change: 'registered', access: { roles: ['admin'] } },
      },
      {
        type: 'registry.changed',
        outcome: 'succeeded',
        actor: '-',
        target: 't',
        details: { kind: 'tool', change: 'removed', access: { roles: ['admin'] } },
      },
      {
        type: 'registry.changed',
        outcome: 'succeeded',
        actor: '-',
        target: 'x://{id}',
        details: { kind: 'resource template', change: 'registered', access: {} },
      },
    ]);
  });

  it('names nobody for a caller without credentials', async () => {
    const { registry, ask, audit } = setUp();
    registry.tool('t', {}, () => 'x');
    await refusal(ask('tools/call', { name: 't' }, testContext({ principal: anonymous })));
    expect(audit.events.at(-1)).toMatchObject({ type: 'tool.denied', actor: '-', reason: 'not authenticated' });
  });

  it('bounds what callers make up', async () => {
    const { registry, ask, audit } = setUp();
    registry.tool('t', {}, () => 'x');
    await refusal(ask('tools/call', { name: 'n'.repeat(5_000) }));
    const args = Object.fromEntries(Array.from({ length: 1_000 }, (_x, i) => [`${i}-${'k'.repeat(1_000)}`, 1]));
    await ask('tools/call', { name: 't', arguments: args });
    for (const event of executions(audit.events)) expect(JSON.stringify(event).length).toBeLessThan(12_000);
  });

  it.each(['', 'nonsense', '00-xyz-b7ad6b7169203331-01'])('has no trace id of a bad traceparent: %j', async (traceparent) => {
    const { registry, ask, audit } = setUp();
    registry.tool('t', {}, () => 'x');
    await ask('tools/call', { name: 't' }, testContext({ trace: { traceparent } }));
    expect(audit.events.at(-1)).not.toHaveProperty('traceId');
  });

  it('that cannot be written is reported and fails no call', async () => {
    const { registry, ask, audit, errors } = setUp();
    registry.tool('t', {}, () => 'x');
    await audit.close();
    expect(await ask('tools/call', { name: 't' }, as({}))).toMatchObject({ content: [{ text: 'x' }] });
    expect(errors.map((error) => error.message)).toEqual([expect.stringMatching(/closed/)]);
  });
});
