import { type Clock, type Random, type ServiceNode, sleep } from '@mcp-blocks/core';

/** One service as a driver follows it in its registry. */
export interface ServiceFollower {
  /**
   * Resolves with the complete list: the first time at once, afterwards when the registry has said something;
   * the same array again when that changed nothing. After a rejection it is called again and finds its way back.
   */
  next(signal: AbortSignal): Promise<readonly ServiceNode[]>;
  /** Gives up what is open between two calls. */
  close?(): void;
}

const MAX_PAUSE_MS = 5_000;

/**
 * The watches of a `Discovery` driver. Each tells its listener the current list at once and after every
 * change; while the registry is away it keeps the last list, reports, and asks again after growing pauses.
 */
export class ServiceWatches {
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #stops = new Set<() => Promise<void>>();

  constructor(clock: Clock, random: Random) {
    this.#clock = clock;
    this.#random = random;
  }

  /**
   * Resolves when the first list has been told.
   *
   * @throws what the first `next` rejects with.
   */
  async start(
    follower: ServiceFollower,
    onChange: (nodes: readonly ServiceNode[]) => void,
    onError: (error: Error) => void,
  ): Promise<() => Promise<void>> {
    const abort = new AbortController();
    let first: readonly ServiceNode[];
    try {
      first = await follower.next(abort.signal);
    } catch (error) {
      follower.close?.();
      throw error;
    }
    onChange(first);
    const following = this.#follow(follower, first, abort.signal, onChange, onError).finally(() => follower.close?.());
    const stop = async () => {
      this.#stops.delete(stop);
      abort.abort();
      await following;
    };
    this.#stops.add(stop);
    return stop;
  }

  /** Ends every watch. */
  async close(): Promise<void> {
    await Promise.all([...this.#stops].map((stop) => stop()));
  }

  async #follow(
    follower: ServiceFollower,
    first: readonly ServiceNode[],
    signal: AbortSignal,
    onChange: (nodes: readonly ServiceNode[]) => void,
    onError: (error: Error) => void,
  ): Promise<void> {
    let told = first;
    let failures = 0;
    while (!signal.aborted) {
      try {
        const nodes = await follower.next(signal);
        failures = 0;
        if (nodes === told || signal.aborted) continue;
        told = nodes;
        onChange(nodes);
      } catch (error) {
        if (signal.aborted) return;
        onError(error instanceof Error ? error : new Error(String(error)));
        failures += 1;
        const pauseMs = 20 + this.#random() * Math.min(MAX_PAUSE_MS, 100 * 2 ** failures);
        await sleep(this.#clock, pauseMs, signal).catch(() => {});
      }
    }
  }
}
