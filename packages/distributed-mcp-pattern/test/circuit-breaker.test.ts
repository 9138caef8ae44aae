import { ManualClock } from '@mcp-blocks/core/testing';
import fc from 'fast-check';
import { expect, it, vi } from 'vitest';
import { CircuitBreaker } from '../src/index.js';

function breakerOf(failureThreshold = 3) {
  const clock = new ManualClock(0);
  const onChange = vi.fn();
  const breaker = new CircuitBreaker({ failureThreshold, resetTimeoutMs: 1_000, clock, onChange });
  const fail = (times: number) => {
    for (let i = 0; i < times; i += 1) breaker.acquire()?.failure();
  };
  return { clock, breaker, onChange, fail };
}

it('opens after as many failures in a row as the threshold, and not before', () => {
  const { breaker, fail } = breakerOf();
  fail(2);
  breaker.acquire()?.success();
  fail(2);
  expect(breaker.snapshot()).toEqual({ state: 'closed', consecutiveFailures: 2, trips: 0 });
  fail(1);
  expect(breaker.snapshot()).toEqual({ state: 'open', consecutiveFailures: 3, trips: 1, retryAt: 1_000 });
  expect(breaker.acquire()).toBeUndefined();
});

it('lets one probe through after the reset time, and closes when it succeeds', async () => {
  const { breaker, clock, fail, onChange } = breakerOf();
  fail(3);
  await clock.advance(999);
  expect(breaker.permits).toBe(false);
  await clock.advance(1);
  expect(breaker.snapshot().state).toBe('half-open');
  onChange.mockClear();
  const probe = breaker.acquire();
  expect(onChange).toHaveBeenCalledTimes(1);
  expect(breaker.acquire()).toBeUndefined();
  probe?.success();
  expect(breaker.snapshot()).toEqual({ state: 'closed', consecutiveFailures: 0, trips: 1 });
});

it('opens again when the probe fails, and waits as long', async () => {
  const { breaker, clock, fail } = breakerOf();
  fail(3);
  await clock.advance(1_000);
  breaker.acquire()?.failure();
  expect(breaker.snapshot()).toMatchObject({ state: 'open', trips: 2, retryAt: 2_000 });
  await clock.advance(1_000);
  expect(breaker.permits).toBe(true);
});

it('lets another probe through when one was given up', async () => {
  const { breaker, clock, fail } = breakerOf();
  fail(3);
  await clock.advance(1_000);
  breaker.acquire()?.release();
  expect(breaker.permits).toBe(true);
});

it('ignores how requests end that were sent before the circuit opened', async () => {
  const { breaker, clock, fail } = breakerOf();
  const [early, late] = [breaker.acquire(), breaker.acquire()];
  fail(3);
  early?.success();
  expect(breaker.snapshot().state).toBe('open');
  await clock.advance(1_000);
  late?.failure();
  expect(breaker.snapshot().state).toBe('half-open');
});

it('takes only the first word of a permit', () => {
  const { breaker } = breakerOf(2);
  const permit = breaker.acquire();
  permit?.failure();
  permit?.failure();
  expect(breaker.snapshot().consecutiveFailures).toBe(1);
});

it('leaves no timer when closed', () => {
  const { breaker, clock, fail } = breakerOf();
  fail(3);
  breaker.close();
  expect(clock.pendingTimers).toBe(0);
});

it('never lets more than one probe through, whatever happens', async () => {
  const step = fc.constantFrom('acquire', 'success', 'failure', 'release', 'wait');
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
      const { breaker, clock } = breakerOf(2);
      const held: NonNullable<ReturnType<CircuitBreaker['acquire']>>[] = [];
      let probes = 0;
      for (const action of steps) {
        const { state } = breaker.snapshot();
        if (action === 'wait') await clock.advance(500);
        else if (action === 'acquire') {
          const permit = breaker.acquire();
          expect(permit === undefined).toBe(state === 'open' || (state === 'half-open' && probes > 0));
          if (permit !== undefined) {
            held.push(permit);
            if (state === 'half-open') probes += 1;
          }
        } else {
          held.pop()?.[action as 'success' | 'failure' | 'release']();
        }
        if (breaker.snapshot().state !== 'half-open' || breaker.permits) probes = 0;
      }
      breaker.close();
    }),
    { numRuns: 200 },
  );
});
