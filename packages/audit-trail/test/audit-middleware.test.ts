import { compose, MemoryAuditSink, RpcError, type RpcHandler } from '@mcp-blocks/core';
import { ManualClock, testContext, testPrincipal } from '@mcp-blocks/core/testing';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type AuditTrailOptions, auditTrail } from '../src/index.js';

const call = { method: 'tools/call', params: { name: 'pay', arguments: { amount: 5, card: 'x' } } };

function audited(handler: RpcHandler, options: Partial<AuditTrailOptions> = {}) {
  const sink = new MemoryAuditSink();
  const clock = new ManualClock();
  return { sink, clock, handle: compose(handler, [auditTrail({ sink, clock, ...options })]) };
}

describe('the middleware', () => {
  it('records who did what, when, how it ended, how long it took and in which trace', async () => {
    const { sink, clock, handle } = audited(async () => {
      await clock.advance(25);
      return { content: [] };
    });
    const startedAt = clock.now();
    await handle(
      call,
      testContext({
        requestId: 7,
        sessionId: 's',
        remoteAddress: '192.0.2.1',
        trace: { traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01' },
      }),
    );
    expect(sink.events).toEqual([
      {
        type: 'tool.call',
        time: startedAt + 25,
        outcome: 'succeeded',
        actor: 'alice',
        target: 'pay',
        durationMs: 25,
        traceId: '0af7651916cd43dd8448eb211c80319c',
        transport: 'memory',
        remoteAddress: '192.0.2.1',
        sessionId: 's',
        details: { argumentKeys: ['amount', 'card'], requestId: 7 },
      },
    ]);
  });

  it.each<[method: string, params: object, type: string, target: string]>([
    ['tools/call', { name: 'a' }, 'tool.call', 'a'],
    ['resources/read', { uri: 'file:///x' }, 'resource.read', 'file:///x'],
    ['prompts/get', { name: 'p' }, 'prompt.get', 'p'],
    ['tools/list', {}, 'rpc.request', 'tools/list'],
    ['tools/call', { name: 5 }, 'tool.call', 'tools/call'],
    ['constructor', {}, 'rpc.request', 'constructor'],
  ])('%s %j is %s of %s', async (method, params, type, target) => {
    const { sink, handle } = audited(async () => ({}));
    await handle({ method, params: params as never }, testContext());
    expect(sink.events).toMatchObject([{ type, target }]);
  });

  it.each<[what: string, handler: RpcHandler, outcome: object]>([
    [
      'a refusal',
      async () => {
        throw new RpcError('forbidden', 'No', { auditReason: 'role missing' });
      },
      { outcome: 'denied', reason: 'role missing', details: { code: 'forbidden' } },
    ],
    [
      'a limit',
      async () => {
        throw new RpcError('rate_limited', 'Slow down');
      },
      { outcome: 'denied', reason: 'Slow down', details: { code: 'rate_limited' } },
    ],
    [
      'a failure',
      async () => {
        throw new TypeError('x is not a function');
      },
      { outcome: 'failed', reason: 'TypeError: x is not a function', details: { code: 'internal_error' } },
    ],
    [
      'a handler that throws before it is asynchronous',
      () => {
        throw new Error('at once');
      },
      { outcome: 'failed', reason: 'Error: at once' },
    ],
    [
      'a failed tool',
      async () => ({ isError: true, content: [{ type: 'text', text: 'no such order; Bearer abcdefgh' }] }),
      { outcome: 'failed', reason: 'no such order; Bearer [redacted]', details: { code: 'tool_error' } },
    ],
    [
      'a question back',
      async () => ({ resultType: 'input_required' }),
      { outcome: 'succeeded', details: { resultType: 'input_required' } },
    ],
  ])('tells %s', async (_what, handler, outcome) => {
    const { sink, handle } = audited(handler);
    await handle(call, testContext()).catch(() => {});
    expect(sink.events).toHaveLength(1);
    expect(sink.events).toMatchObject([outcome]);
  });

  it.each([
    ['the caller leaves', undefined, 'cancelled'],
    ['its time is up', new RpcError('timeout', 'Too slow'), 'timeout'],
  ])('records a request at the moment that %s, and not again when its handler ends', async (_what, reason, code) => {
    const caller = new AbortController();
    let finish = () => {};
    const { sink, handle } = audited(
      () =>
        new Promise((resolve) => {
          finish = () => resolve({});
        }),
    );
    const answer = handle(call, testContext({ signal: caller.signal }));
    caller.abort(reason);
    expect(sink.events).toMatchObject([{ outcome: 'failed', reason: expect.stringContaining('still at work'), details: { code } }]);
    finish();
    await answer;
    expect(sink.events).toHaveLength(1);
  });

  it('records exactly one event for each of many calls that overlap, end in any way and are given up at any time', async () => {
    const endings = fc.array(
      fc.record({
        runsMs: fc.integer({ min: 0, max: 20 }),
        ends: fc.constantFrom('result', 'error', 'refusal', 'never'),
        leavesMs: fc.option(fc.integer({ min: 0, max: 20 }), { nil: undefined }),
      }),
      { minLength: 1, maxLength: 20 },
    );
    await fc.assert(
      fc.asyncProperty(endings, async (calls) => {
        const { sink, clock, handle } = audited(({ params }) => {
          const { runsMs, ends } = calls[Number(params.name)]!;
          return new Promise((resolve, reject) => {
            clock.setTimeout(() => {
              if (ends === 'result') resolve({});
              else if (ends === 'error') reject(new Error('x'));
              else if (ends === 'refusal') reject(new RpcError('forbidden', 'No'));
            }, runsMs);
          });
        });
        for (const [index, { leavesMs }] of calls.entries()) {
          const caller = new AbortController();
          if (leavesMs !== undefined) clock.setTimeout(() => caller.abort(), leavesMs);
          void handle({ method: 'tools/call', params: { name: String(index) } }, testContext({ signal: caller.signal })).catch(() => {});
        }
        await clock.advance(50);
        const ended = calls.flatMap(({ ends, leavesMs }, index) => (ends === 'never' && leavesMs === undefined ? [] : [String(index)]));
        expect(sink.events.map(({ target }) => target).sort()).toEqual(ended.sort());
      }),
      { numRuns: 50 },
    );
  });

  it.each<[shown: AuditTrailOptions['arguments'], details: object | undefined]>([
    ['names', { argumentKeys: ['amount', 'card'] }],
    ['values', { arguments: { amount: 5, card: '[redacted]' } }],
    ['none', undefined],
  ])('shows of the arguments: %s', async (shown, details) => {
    const { sink, handle } = audited(async () => ({}), {
      redact: { keys: ['card'] },
      ...(shown === undefined ? {} : { arguments: shown }),
    });
    await handle(call, testContext());
    expect(sink.events[0]?.details).toEqual(details);
  });

  it('calls the anonymous nobody', async () => {
    const { sink, handle } = audited(async () => ({}));
    await handle(call, testContext({ principal: testPrincipal({ authentication: 'anonymous', id: 'anonymous' }) }));
    expect(sink.events).toMatchObject([{ actor: '-' }]);
  });

  it.each<[options: object, option: string]>([
    [{ sink: {} }, 'sink'],
    [{ arguments: 'all' }, 'arguments'],
    [{ redact: { maxDepth: 0 } }, 'redact.maxDepth'],
  ])('refuses %j', (options, option) => {
    expect(() => audited(async () => ({}), options)).toThrow(expect.objectContaining({ name: 'ConfigurationError', option }));
  });
});

describe('while the sink takes nothing', () => {
  class FullSink extends MemoryAuditSink {
    full = true;
    override record(event: Parameters<MemoryAuditSink['record']>[0]) {
      if (this.full) throw new RpcError('unavailable', 'full');
      super.record(event);
    }
  }

  it('calls go on, and each missed event is told', async () => {
    const sink = new FullSink();
    const missed: unknown[] = [];
    const { handle } = audited(async () => ({ ok: true }), { sink, onError: (error, event) => missed.push([error.message, event.target]) });
    expect(await handle(call, testContext())).toEqual({ ok: true });
    expect(missed).toEqual([['full', 'pay']]);
    await handle(call, testContext());
    expect(missed).toHaveLength(2);
  });

  it('calls that need the trail do not run, and what ran is recorded when the sink is back', async () => {
    const sink = new FullSink();
    let ran = 0;
    const { handle } = audited(async () => ({ ran: (ran += 1) }), { sink, required: true });
    // These were accepted before anybody knew.
    await Promise.all([handle(call, testContext()), handle(call, testContext())]);
    await expect(handle(call, testContext())).rejects.toMatchObject({ code: 'unavailable', message: expect.not.stringContaining('full') });
    expect(ran).toBe(2);
    sink.full = false;
    await handle(call, testContext());
    expect(ran).toBe(3);
    expect(sink.events).toHaveLength(3);
  });
});
