import type { Contender } from './contenders.ts';
import type { Way } from './echo-request.ts';
import type { LoadResult } from './load.ts';
import type { SessionMemory } from './session-memory.ts';
import { median } from './statistics.ts';

/** One contender asked in one way. */
export interface RowKey {
  readonly contender: Contender;
  readonly way: Way;
}

/** A row of the table: figures, or why there are none. */
export type Row = RowKey &
  (
    | {
        readonly requestsPerSecond: number;
        /** The slowest and the fastest round. */
        readonly range: readonly [number, number];
        readonly p50Ms: number;
        readonly p99Ms: number;
        /** To plain node:http in the same round. */
        readonly ofLimit: number;
        /** To SDK v2 asked in the same way in the same round; absent when that was not measured. */
        readonly ofSdkV2?: number;
        readonly problem?: undefined;
      }
    | { readonly problem: string }
  );

/** What one idle session of a contender takes, or why that is not known. */
export interface SessionRow {
  readonly contender: Contender;
  readonly memory?: SessionMemory;
  readonly problem?: string;
}

/** Everything measured in one run. */
export interface Outcome {
  readonly rows: readonly Row[];
  readonly sessions: readonly SessionRow[];
  /** The highest share of its core that the load generator was busy in any row. */
  readonly generatorBusy: number;
}

/** The results of the rounds, by contender and way; one entry per round, undefined where it failed. */
export class RoundResults {
  readonly #results = new Map<string, (LoadResult | undefined)[]>();
  readonly #problems = new Map<string, string>();
  #round = -1;

  startRound(): void {
    this.#round += 1;
  }

  add(contender: Contender, way: Way, result: LoadResult): void {
    const key = keyOf(contender.id, way);
    const rounds = this.#results.get(key) ?? [];
    rounds[this.#round] = result;
    this.#results.set(key, rounds);
  }

  /** A contender, or one way of asking it, that has failed has no figures, whatever the other rounds gave. */
  fail(contender: Contender, way: Way | undefined, problem: string): void {
    for (const failed of way === undefined ? contender.ways : [way]) {
      const key = keyOf(contender.id, failed);
      if (!this.#problems.has(key)) this.#problems.set(key, problem);
    }
  }

  failed(contender: Contender, way: Way): boolean {
    return this.#problems.has(keyOf(contender.id, way));
  }

  rows(contenders: readonly Contender[]): Row[] {
    return contenders.flatMap((contender) => contender.ways.map((way) => this.#row({ contender, way })));
  }

  get generatorBusy(): number {
    return Math.max(0, ...[...this.#results.values()].flat().map((result) => result?.generatorBusy ?? 0));
  }

  #row({ contender, way }: RowKey): Row {
    const problem = this.#problems.get(keyOf(contender.id, way));
    if (problem !== undefined) return { contender, way, problem };
    const results = this.#results.get(keyOf(contender.id, way)) ?? [];
    const ofLimit = this.#ratio(results, keyOf('limit', 'modern'));
    if (ofLimit === undefined) return { contender, way, problem: 'plain node:http was not measured, so there is nothing to compare with' };
    const ofSdkV2 = this.#ratio(results, keyOf('sdk-v2', way));
    const speeds = results.flatMap((result) => (result === undefined ? [] : [result.requestsPerSecond]));
    const medianOf = (figure: (result: LoadResult) => number) =>
      median(results.flatMap((result) => (result === undefined ? [] : [figure(result)])));
    return {
      contender,
      way,
      requestsPerSecond: median(speeds),
      range: [Math.min(...speeds), Math.max(...speeds)],
      p50Ms: medianOf((result) => result.p50Ms),
      p99Ms: medianOf((result) => result.p99Ms),
      ofLimit,
      ...(ofSdkV2 === undefined ? {} : { ofSdkV2 }),
    };
  }

  /** The median of the rounds' ratios; undefined when a round lacks either side. */
  #ratio(results: readonly (LoadResult | undefined)[], baseKey: string): number | undefined {
    if (this.#problems.has(baseKey)) return undefined;
    const base = this.#results.get(baseKey) ?? [];
    const ratios = results.map(
      (result, round) => (result?.requestsPerSecond ?? Number.NaN) / (base[round]?.requestsPerSecond ?? Number.NaN),
    );
    return ratios.length === 0 || ratios.some(Number.isNaN) ? undefined : median(ratios);
  }
}

function keyOf(id: string, way: Way): string {
  return `${id} ${way}`;
}
