// Preloaded into every measured server (`node --import`). Answers its parent's question for the memory in use
// after a full collection, and ends the process when the parent is gone, however it went.

/** Megabytes would hide what one session takes: all in bytes. */
export interface MemoryInUse {
  /** JavaScript objects and what they hold outside the heap. */
  readonly heapBytes: number;
  /** The whole process, as the operating system counts it. */
  readonly residentBytes: number;
}

process.on('message', (message) => {
  if (message === 'memory') void answer();
});
process.on('disconnect', () => process.exit());

async function answer(): Promise<void> {
  // Twice, with the event loop in between: finalizers and closed sockets let go of more.
  for (let pass = 0; pass < 2; pass += 1) {
    globalThis.gc?.();
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  globalThis.gc?.();
  const { heapUsed, external, rss } = process.memoryUsage();
  process.send?.({ heapBytes: heapUsed + external, residentBytes: rss } satisfies MemoryInUse);
}
