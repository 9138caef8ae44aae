import { ManualClock } from '@mcp-blocks/core/testing';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { Heartbeat } from '../src/heartbeat.js';

const delays = fc.record({ intervalMs: fc.integer({ min: 1, max: 60_000 }), timeoutMs: fc.integer({ min: 1, max: 60_000 }) });

function watched(clock: ManualClock, { intervalMs, timeoutMs }: { intervalMs: number; timeoutMs: number }) {
  const timeouts: number[] = [];
  let bytes = 0;
  const heartbeat = new Heartbeat({
    clock,
    intervalMs,
    timeoutMs,
    ping: () => {},
    bytesRead: () => bytes,
    onTimeout: () => timeouts.push(clock.now()),
  });
  heartbeat.start();
  return { heartbeat, timeouts, receive: (count: number) => (bytes += count) };
}

it('notices a peer exactly interval and timeout after its last frame, however the frames were spaced', async () => {
  await fc.assert(
    fc.asyncProperty(delays, fc.array(fc.double({ min: 0.01, max: 0.99, noNaN: true }), { maxLength: 8 }), async (options, gaps) => {
      const clock = new ManualClock();
      const limitMs = options.intervalMs + options.timeoutMs;
      const { heartbeat, timeouts, receive } = watched(clock, options);
      for (const gap of gaps) {
        await clock.advance(Math.floor(gap * limitMs));
        receive(6);
        heartbeat.seen();
      }
      expect(timeouts).toEqual([]);
      const lastSeen = clock.now();
      await clock.advance(3 * limitMs);
      expect(timeouts).toEqual([lastSeen + limitMs]);
      expect(clock.pendingTimers).toBe(0);
    }),
    { numRuns: 50 },
  );
});

it('starts counting afresh when this end reads again', async () => {
  const clock = new ManualClock();
  const { heartbeat, timeouts } = watched(clock, { intervalMs: 30, timeoutMs: 10 });
  heartbeat.suspend();
  await clock.advance(1_000);
  heartbeat.resume();
  heartbeat.resume();
  const resumedAt = clock.now();
  await clock.advance(1_000);
  expect(timeouts).toEqual([resumedAt + 40]);
});

it('stays stopped, also when this end reads again afterwards', async () => {
  const clock = new ManualClock();
  const { heartbeat, timeouts } = watched(clock, { intervalMs: 30, timeoutMs: 10 });
  heartbeat.suspend();
  heartbeat.stop();
  heartbeat.resume();
  await clock.advance(1_000);
  expect(timeouts).toEqual([]);
  expect(clock.pendingTimers).toBe(0);
});
