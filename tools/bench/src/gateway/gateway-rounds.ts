import { auditedCalls } from '../audit-check.ts';
import { generate } from '../generate.ts';
import type { Endpoint } from '../http-call.ts';
import type { LoadJob, LoadResult } from '../load.ts';
import type { Pinning } from '../pinning.ts';
import { preflight } from '../preflight.ts';
import { median } from '../statistics.ts';
import { type RunningStation, STATIONS, type Station, startNode } from './stations.ts';

/** How many connections there are, by turns. */
export const CONNECTIONS = [1, 8, 32] as const;

/** How long and how often. */
export interface GatewayCounts {
  readonly rounds: number;
  readonly seconds: number;
  readonly warmUpSeconds: number;
  /** Ends each row after so many requests, whatever the time. Default: the time decides. */
  readonly requests?: number;
}

/** What a station did with so many connections; medians of the rounds. */
export interface GatewayCell {
  readonly requestsPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** To no station in the same round. */
  readonly ofDirect: number;
  /** To the bare Node proxy in the same round; NaN when that was not measured. */
  readonly ofBare: number;
  /** Above no station in the same round. */
  readonly addedP50Ms: number;
  readonly addedP99Ms: number;
}

/** A station with its figures, in the order of {@link CONNECTIONS}, or why there are none. */
export type GatewayRow = { readonly station: Station } & (
  | { readonly cells: readonly GatewayCell[]; readonly problem?: undefined }
  | { readonly problem: string }
);

/** What was measured. */
export interface GatewayFigures {
  readonly rows: readonly GatewayRow[];
  /** The highest share of its core that the load generator was busy. */
  readonly generatorBusy: number;
}

/** Every station with each number of connections, by turns; then all again, round after round, with fresh processes. */
export async function measureGateways(
  { rounds, seconds, warmUpSeconds, requests }: GatewayCounts,
  stations: readonly Station[],
  pinning: Pinning,
  step: (text: string) => void,
): Promise<GatewayFigures> {
  const results = new Map(stations.map((station) => [station, CONNECTIONS.map((): LoadResult[] => [])]));
  const problems = new Map<Station, string>();
  const attempt = async (station: Station, run: () => Promise<void>) => {
    if (problems.has(station)) return;
    try {
      await run();
    } catch (error) {
      problems.set(station, (error as Error).message);
    }
  };
  for (let round = 1; round <= rounds; round += 1) {
    const node = await startNode(pinning);
    const running = new Map<Station, Running>();
    try {
      for (const station of stations) {
        step(`round ${round} of ${rounds}: starting ${station.title}`);
        await attempt(station, async () => {
          running.set(station, await Running.start(station, node.announcement.port, pinning));
        });
      }
      // The most connections first: they warm everything up for the fewer.
      for (const [at, connections] of [...CONNECTIONS.entries()].reverse()) {
        for (const [station, started] of running) {
          step(`round ${round} of ${rounds}: ${station.title}, ${connections} connections`);
          await attempt(station, async () => {
            const length = { warmUpMs: warmUpSeconds * 1000, durationMs: seconds * 1000, ...(requests === undefined ? {} : { requests }) };
            results.get(station)?.[at]?.push(await started.load(connections, length, pinning));
          });
        }
      }
    } finally {
      for (const [station, started] of running) await attempt(station, () => started.stop());
      await node.stop(() => undefined);
    }
  }
  return {
    rows: stations.map((station) => {
      const problem = problems.get(station);
      if (problem !== undefined) return { station, problem };
      const of = (id: Station['id']) => results.get(STATIONS.find((other) => other.id === id) as Station) ?? [];
      const own = results.get(station) as LoadResult[][];
      return { station, cells: own.map((cell, at) => cellOf(cell, of('direct')[at] ?? [], of('bare')[at] ?? [])) };
    }),
    generatorBusy: Math.max(0, ...[...results.values()].flat(2).map((result) => result.generatorBusy)),
  };
}

function cellOf(own: readonly LoadResult[], direct: readonly LoadResult[], bare: readonly LoadResult[]): GatewayCell {
  const of = (figure: (own: LoadResult, direct: LoadResult | undefined, bare: LoadResult | undefined) => number) =>
    median(own.map((result, round) => figure(result, direct[round], bare[round])));
  return {
    requestsPerSecond: of((result) => result.requestsPerSecond),
    p50Ms: of((result) => result.p50Ms),
    p99Ms: of((result) => result.p99Ms),
    ofDirect: of((result, none) => result.requestsPerSecond / (none?.requestsPerSecond ?? Number.NaN)),
    ofBare: of((result, _, other) => result.requestsPerSecond / (other?.requestsPerSecond ?? Number.NaN)),
    addedP50Ms: of((result, none) => result.p50Ms - (none?.p50Ms ?? Number.NaN)),
    addedP99Ms: of((result, none) => result.p99Ms - (none?.p99Ms ?? Number.NaN)),
  };
}

/** A started station and what was asked of it. */
class Running {
  readonly #station: RunningStation;
  readonly #endpoint: Endpoint;
  #sent = 0;

  private constructor(station: RunningStation, endpoint: Endpoint) {
    this.#station = station;
    this.#endpoint = endpoint;
  }

  /** @throws Error when it does not start, does not answer a call, or answers one that it has to refuse. */
  static async start(station: Station, nodePort: number, pinning: Pinning): Promise<Running> {
    const started = await station.start(nodePort, pinning);
    const { port, path = '/mcp' } = started.announcement;
    const running = new Running(started, { host: '127.0.0.1', port, path });
    try {
      await preflight(running.#endpoint, 'modern', started.announcement);
      running.#sent = 1;
      return running;
    } catch (error) {
      await started.stop(() => undefined);
      throw error;
    }
  }

  async load(connections: number, length: Pick<LoadJob, 'warmUpMs' | 'durationMs' | 'requests'>, pinning: Pinning): Promise<LoadResult> {
    const { authorizations = [] } = this.#station.announcement;
    const result = await generate({ ...this.#endpoint, ...length, way: 'modern', authorizations, connections }, pinning.generator);
    this.#sent += result.sent;
    return result;
  }

  /** @throws Error when its audit trail is not intact or lacks a call. */
  async stop(): Promise<void> {
    const { auditFile } = this.#station.announcement;
    const audited = await this.#station.stop(() => (auditFile === undefined ? undefined : auditedCalls(auditFile)));
    if (audited !== undefined && audited !== this.#sent) throw new Error(`its audit trail has ${audited} of ${this.#sent} calls`);
  }
}
