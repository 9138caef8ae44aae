import { ManualClock, settle } from '@mcp-blocks/core/testing';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Bulkhead } from '../src/resilience/bulkhead.js';
import { LatencyAverage } from '../src/resilience/latency-average.js';
import { type EjectionChange, OutlierDetector, type OutlierOutcome, type OutlierWatch } from '../src/resilience/outlier-detector.js';
import { RetryBudget } from '../src/resilience/retry-budget.js';
import { SlowStart } from '../src/resilience/slow-start.js';

describe('slow start', () => {
  const make = (options = {}) => {
    const clock = new ManualClock(0);
    return { clock, slowStart: new SlowStart({ windowMs: 1_000, minShare: 0.1, aggression: 1, clock, ...options }) };
  };

  it.each([
    [1, [0.1, 0.1, 0.25, 0.5, 0.9, 1]],
    [2, [0.1, Math.sqrt(0.05), 0.5, Math.sqrt(0.5), Math.sqrt(0.9), 1]],
    [0.5, [0.1, 0.1, 0.1, 0.25, 0.81, 1]],
  ])('with aggression %d grows as Envoy says', async (aggression, expected) => {
    const { clock, slowStart } = make({ aggression });
    expect(slowStart.share).toBe(1);
    slowStart.restart();
    slowStart.succeeded();
    const shares: number[] = [];
    for (const at of [0, 50, 250, 500, 900, 1_000]) {
      await clock.advance(at - clock.now());
      shares.push(slowStart.share);
    }
    for (const [index, share] of shares.entries()) expect(share).toBeCloseTo(expected[index]!, 10);
  });

  it('waits for the first success, however long that takes', async () => {
    const { clock, slowStart } = make();
    slowStart.restart();
    await clock.advance(60_000);
    expect(slowStart.share).toBe(0.1);
    slowStart.succeeded();
    await clock.advance(500);
    slowStart.succeeded();
    expect(slowStart.share).toBe(0.5);
    slowStart.restart();
    expect(slowStart.share).toBe(0.1);
  });
});

describe('the latency average', () => {
  it('jumps to a peak, comes down slowly, and fades without observations', async () => {
    const clock = new ManualClock(0);
    const average = new LatencyAverage({ clock, decayMs: 1_000 });
    expect(average.value).toBeUndefined();
    average.observe(10);
    average.observe(500);
    expect(average.value).toBe(500);
    await clock.advance(1_000);
    expect(average.value).toBeCloseTo(500 / Math.E);
    average.observe(10);
    expect(average.value).toBeCloseTo(10 + 490 / Math.E);
  });

  it('is not lowered by requests that fail fast', async () => {
    const clock = new ManualClock(0);
    const average = new LatencyAverage({ clock, decayMs: 1_000_000 });
    average.observe(100);
    await clock.advance(1_000);
    const before = average.value;
    average.observeFailure(1);
    await clock.advance(100_000);
    // Fading from where it was, and not from a time that was observed since.
    expect(average.value).toBeCloseTo(100 * Math.exp(-0.101), 10);
    expect(average.value).toBeLessThan(before!);
    average.observeFailure(300);
    expect(average.value).toBe(300);
  });
});

describe('the retry budget', () => {
  it.each([
    [0, 3],
    [14, 3],
    [15, 3],
    [24, 4],
    [100, 16],
    [120, 20],
  ])('with %d calls in progress, those that are repeated among them, has %d places', (calls, places) => {
    const budget = new RetryBudget({ ratio: 0.2, minConcurrent: 3 });
    const leaves = Array.from({ length: calls }, () => budget.enter());
    const taken = Array.from({ length: 30 }, () => budget.take()).filter((place) => place !== undefined);
    expect(taken).toHaveLength(places);
    taken[0]?.();
    taken[0]?.();
    // Other calls in the place of five, which is worth one retry.
    for (const leave of leaves.slice(0, 5)) {
      leave();
      budget.enter();
    }
    expect([budget.take(), budget.take()].map((place) => place !== undefined)).toEqual([true, false]);
  });

  it('lets no more retries pass than its share of the calls, however short they are', () => {
    const budget = new RetryBudget({ ratio: 0.2, minConcurrent: 3 });
    // A hundred callers, each with a new call as soon as the last one has failed, and been retried where it might.
    const calls = Array.from({ length: 100 }, () => budget.enter());
    let retries = 0;
    for (let ended = 0; ended < 10_000; ended += 1) {
      const leave = budget.take();
      if (leave !== undefined) retries += 1;
      leave?.();
      calls[ended % calls.length]?.();
      calls[ended % calls.length] = budget.enter();
    }
    expect(retries / 10_000).toBeLessThanOrEqual(0.2 + 20 / 10_000);
    expect(retries / 10_000).toBeGreaterThan(0.19);
  });

  it('lets those who wait in, first come, first served, and none twice', async () => {
    const budget = new RetryBudget({ ratio: 0, minConcurrent: 1 });
    const { signal } = new AbortController();
    const first = budget.take();
    const order: string[] = [];
    const waiting = ['a', 'b'].map((name) =>
      budget.wait(signal).then((leave) => {
        order.push(name);
        return leave;
      }),
    );
    await settle();
    expect(order).toEqual([]);
    first?.();
    await settle();
    expect(order).toEqual(['a']);
    (await waiting[0])?.();
    expect(await waiting[1]).toBeTypeOf('function');
  });

  it('sends away who waits for nothing, and forgets who stops waiting', async () => {
    const none = new RetryBudget({ ratio: 0, minConcurrent: 0 });
    expect(await none.wait(new AbortController().signal)).toBeUndefined();
    const budget = new RetryBudget({ ratio: 0, minConcurrent: 1 });
    const held = budget.take();
    const abort = new AbortController();
    const waiting = budget.wait(abort.signal);
    abort.abort(new Error('gone'));
    await expect(waiting).rejects.toThrow('gone');
    held?.();
    expect(budget.take()).toBeTypeOf('function');
  });

  it('never has more repeats in progress than allowed, whatever happens', async () => {
    const step = fc.constantFrom('enter', 'take', 'wait', 'leave', 'end');
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 80 }), async (steps) => {
        const budget = new RetryBudget({ ratio: 0.5, minConcurrent: 1 });
        const { signal } = new AbortController();
        const calls: (() => void)[] = [];
        const held: (() => void)[] = [];
        let waiting = 0;
        let mostCalls = 0;
        for (const action of steps) {
          if (action === 'enter') calls.push(budget.enter());
          else if (action === 'end') calls.pop()?.();
          else if (action === 'leave') held.shift()?.();
          else if (action === 'take') held.push(...[budget.take()].filter((leave) => leave !== undefined));
          else {
            waiting += 1;
            void budget.wait(signal).then((leave) => {
              waiting -= 1;
              if (leave !== undefined) held.push(leave);
            });
          }
          await Promise.resolve();
          await Promise.resolve();
          mostCalls = Math.max(mostCalls, calls.length);
          expect(held.length).toBeLessThanOrEqual(Math.max(1, Math.floor(0.5 * mostCalls)));
        }
        // Nobody waits for ever.
        while (held.length > 0) {
          held.shift()?.();
          await settle();
        }
        expect(waiting).toBe(0);
      }),
      { numRuns: 100 },
    );
  });
});

describe('the bulkhead', () => {
  const { signal } = new AbortController();

  it('has as many places and as long a queue as it was given', async () => {
    const bulkhead = new Bulkhead({ maxConcurrent: 2, maxQueue: 1 });
    expect([bulkhead.enter(), bulkhead.enter(), bulkhead.enter()]).toEqual([true, true, false]);
    const waiting = bulkhead.wait(signal);
    expect(bulkhead.queued).toBe(1);
    expect(await bulkhead.wait(signal)).toBe(false);
    bulkhead.leave();
    expect(await waiting).toBe(true);
    expect([bulkhead.hasRoom, bulkhead.queued]).toEqual([false, 0]);
    bulkhead.leave();
    bulkhead.leave();
    expect([bulkhead.enter(), bulkhead.enter(), bulkhead.enter()]).toEqual([true, true, false]);
  });

  it('keeps no place for who has stopped waiting', async () => {
    const bulkhead = new Bulkhead({ maxConcurrent: 1, maxQueue: 5 });
    bulkhead.enter();
    const abort = new AbortController();
    const gone = bulkhead.wait(abort.signal);
    const next = bulkhead.wait(signal);
    abort.abort(new Error('gone'));
    await expect(gone).rejects.toThrow('gone');
    bulkhead.leave();
    expect(await next).toBe(true);
    await expect(bulkhead.wait(abort.signal)).rejects.toThrow('gone');
  });

  it('sends away all who wait when it is dissolved', async () => {
    const bulkhead = new Bulkhead({ maxConcurrent: 1, maxQueue: 5 });
    bulkhead.enter();
    const waiting = [bulkhead.wait(signal), bulkhead.wait(signal)];
    bulkhead.dissolve();
    expect(await Promise.all(waiting)).toEqual([false, false]);
    bulkhead.leave();
    expect(bulkhead.hasRoom).toBe(true);
  });
});

describe('outlier detection', () => {
  function detectorOf(count: number, options = {}) {
    const clock = new ManualClock(0);
    const changes: EjectionChange[] = [];
    const detector = new OutlierDetector({
      consecutive5xx: 5,
      consecutiveGatewayFailures: 3,
      intervalMs: 10_000,
      baseEjectionMs: 30_000,
      maxEjectionMs: 300_000,
      maxEjectedShare: 0.1,
      successRateMinNodes: 5,
      successRateMinRequests: 100,
      successRateStdevFactor: 1.9,
      clock,
      onChange: (change) => changes.push(change),
      ...options,
    });
    const watches = Array.from({ length: count }, (_, index) => detector.watch(`n${index}`));
    const times = (watch: OutlierWatch, outcome: OutlierOutcome, count: number) => {
      for (let i = 0; i < count; i += 1) watch.record(outcome);
    };
    const ejected = () => watches.flatMap((watch, index) => (watch.ejected ? [index] : []));
    return { clock, detector, changes, watches, times, ejected };
  }

  it.each<[OutlierOutcome[], string | undefined]>([
    [Array<OutlierOutcome>(4).fill('server-error'), undefined],
    [Array<OutlierOutcome>(5).fill('server-error'), 'consecutive-5xx'],
    [['gateway-failure', 'gateway-failure'], undefined],
    [['gateway-failure', 'gateway-failure', 'gateway-failure'], 'consecutive-gateway-failures'],
    [['gateway-failure', 'gateway-failure', 'server-error', 'gateway-failure', 'gateway-failure'], 'consecutive-5xx'],
    [['server-error', 'server-error', 'server-error', 'server-error', 'success', 'server-error'], undefined],
    [['gateway-failure', 'gateway-failure', 'success', 'gateway-failure', 'gateway-failure'], undefined],
  ])('after %j: %s', (outcomes, reason) => {
    const { watches, changes } = detectorOf(3);
    for (const outcome of outcomes) watches[0]!.record(outcome);
    expect(changes.map((change) => change.reason)).toEqual(reason === undefined ? [] : [reason]);
    expect(watches[0]!.ejected).toBe(reason !== undefined);
  });

  it('ejects for longer each time, up to the cap, and forgives with time', async () => {
    const { watches, times, changes, clock } = detectorOf(3, { intervalMs: 1_000_000_000 });
    for (let round = 0; round < 12; round += 1) {
      times(watches[0]!, 'server-error', 5);
      const last = changes.at(-1)!;
      if (!last.ejected) throw new Error('it should be ejected');
      expect(last).toMatchObject({ count: round + 1, durationMs: Math.min(30_000 * (round + 1), 300_000) });
      await clock.advance(last.durationMs - 1);
      expect(watches[0]!.ejected).toBe(true);
      await clock.advance(1);
      expect(changes.at(-1)).toEqual({ nodeId: 'n0', ejected: false, reason: 'time' });
    }
    expect(watches[0]!.ejections).toBe(12);

    const forgiving = detectorOf(3);
    for (const [pause, count] of [
      [0, 1],
      [0, 2],
      [30_000, 1],
    ] as const) {
      await forgiving.clock.advance(pause);
      forgiving.times(forgiving.watches[0]!, 'server-error', 5);
      expect(forgiving.changes.at(-1)).toMatchObject({ ejected: true, count });
      forgiving.watches[0]!.checkPassed();
    }
  });

  it.each([
    [1, 1],
    [9, 1],
    [10, 1],
    [19, 1],
    [20, 2],
    [35, 3],
  ])('of %d nodes that all fail ejects %d', (count, most) => {
    const { watches, times, ejected } = detectorOf(count);
    for (const watch of watches) times(watch, 'gateway-failure', 10);
    expect(ejected()).toHaveLength(most);
  });

  it('ejects the next one that fails on as soon as there is room', () => {
    const { watches, times, ejected } = detectorOf(5);
    for (const watch of watches) times(watch, 'server-error', 5);
    expect(ejected()).toEqual([0]);
    watches[0]!.checkPassed();
    watches[3]!.record('server-error');
    expect(ejected()).toEqual([3]);
  });

  it('starts to count anew after a passing check', () => {
    const { watches, times, ejected, changes } = detectorOf(5);
    times(watches[0]!, 'server-error', 5);
    watches[0]!.checkPassed();
    expect(changes.at(-1)).toEqual({ nodeId: 'n0', ejected: false, reason: 'check' });
    times(watches[0]!, 'server-error', 4);
    expect(ejected()).toEqual([]);
  });

  it('lets nodes back in when so many have left that fewer may be ejected', () => {
    const { watches, times, ejected, changes } = detectorOf(20);
    for (const watch of watches.slice(0, 2)) times(watch, 'server-error', 5);
    expect(ejected()).toEqual([0, 1]);
    watches[19]!.end();
    expect(ejected()).toEqual([1]);
    expect(changes.at(-1)).toEqual({ nodeId: 'n0', ejected: false, reason: 'limit' });
  });

  it.each([
    ['one fails often and the others never', [50, 100, 100, 100, 100, 100], 100, [0]],
    ['it is no further from the others than they from one another', [80, 85, 90, 95, 100, 100], 100, []],
    ['all are the same', [50, 50, 50, 50, 50, 50], 100, []],
    ['too few nodes are busy', [50, 100, 100, 100], 100, []],
    ['there are too few requests', [10, 99, 99, 99, 99, 99], 99, []],
  ])('by success rate, when %s', async (_what, successes, requests, expected) => {
    const { watches, ejected, clock, changes } = detectorOf(successes.length, { consecutive5xx: 1_000 });
    for (const [index, count] of successes.entries()) {
      for (let i = 0; i < requests; i += 1) watches[index]!.record(i < count ? 'success' : 'server-error');
    }
    await clock.advance(9_999);
    expect(ejected()).toEqual([]);
    await clock.advance(1);
    expect(ejected()).toEqual(expected);
    if (expected.length > 0) expect(changes).toMatchObject([{ reason: 'success-rate' }]);
  });

  it('compares within one interval only', async () => {
    const { watches, times, ejected, clock } = detectorOf(5, { consecutive5xx: 1_000 });
    for (const watch of watches) times(watch, 'success', 60);
    await clock.advance(10_000);
    for (const [index, watch] of watches.entries()) times(watch, index === 0 ? 'server-error' : 'success', 60);
    await clock.advance(10_000);
    expect(ejected()).toEqual([]);
  });

  it('leaves no timer, and says nothing after close', async () => {
    const { detector, watches, times, clock, changes } = detectorOf(3);
    times(watches[0]!, 'server-error', 5);
    detector.close();
    expect(clock.pendingTimers).toBe(0);
    watches[0]!.checkPassed();
    times(watches[1]!, 'server-error', 5);
    expect(changes).toHaveLength(1);
  });

  it('never has more ejected than allowed, whatever happens', async () => {
    const step = fc.tuple(fc.constantFrom('fail', 'succeed', 'check', 'end', 'wait', 'watch'), fc.nat(40));
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 40 }),
        fc.constantFrom(0.1, 0.3),
        fc.array(step, { maxLength: 120 }),
        async (count, share, steps) => {
          const { detector, watches, times, clock } = detectorOf(count, { maxEjectedShare: share });
          const here = [...watches];
          for (const [action, which] of steps) {
            const watch = here[which % Math.max(1, here.length)];
            if (action === 'watch') here.push(detector.watch('new'));
            else if (action === 'wait') await clock.advance(5_000);
            else if (watch !== undefined && action === 'end') here.splice(here.indexOf(watch), 1)[0]!.end();
            else if (watch !== undefined && action === 'check') watch.checkPassed();
            else if (watch !== undefined) times(watch, action === 'fail' ? 'gateway-failure' : 'success', 3);
            const most = Math.max(1, Math.floor(here.length * share));
            expect(here.filter(({ ejected }) => ejected).length).toBeLessThanOrEqual(most);
            expect(detector.ejectedCount).toBe(here.filter(({ ejected }) => ejected).length);
          }
          detector.close();
        },
      ),
      { numRuns: 60 },
    );
  });
});
