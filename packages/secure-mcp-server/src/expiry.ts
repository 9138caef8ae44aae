import type { CancelTimer, Clock } from '@mcp-blocks/core';

/** Timers take at most 2^31-1 ms; a token may live longer. */
const LONGEST_TIMER_MS = 2 ** 30;

/** Runs `callback` when the clock reaches `time`; never, when there is no time. */
export function atTime(clock: Clock, time: number | undefined, callback: () => void): CancelTimer {
  if (time === undefined) return () => {};
  let cancel: CancelTimer = () => {};
  const arm = () => {
    const leftMs = time - clock.now();
    cancel = leftMs <= LONGEST_TIMER_MS ? clock.setTimeout(callback, Math.max(0, leftMs)) : clock.setTimeout(arm, LONGEST_TIMER_MS);
  };
  arm();
  return () => cancel();
}
