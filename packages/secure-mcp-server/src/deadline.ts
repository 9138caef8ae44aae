import type { Clock } from '@mcp-blocks/core';

/** Resolves with whether `promise` settled within `deadlineMs`. Never rejects. */
export async function settledWithin(promise: Promise<unknown>, deadlineMs: number, clock: Clock): Promise<boolean> {
  let cancel = () => {};
  const late = new Promise<boolean>((resolve) => {
    cancel = clock.setTimeout(() => resolve(false), deadlineMs);
  });
  const settled = promise.then(
    () => true,
    () => true,
  );
  try {
    return await Promise.race([settled, late]);
  } finally {
    cancel();
  }
}
