import { auditedCalls } from './audit-check.ts';
import type { Contender, ServerProgram } from './contenders.ts';
import { WAY_TITLE, type Way } from './echo-request.ts';
import { generate } from './generate.ts';
import type { Endpoint } from './http-call.ts';
import type { LoadJob, LoadResult } from './load.ts';
import type { BenchOptions } from './options.ts';
import { type Outcome, RoundResults, type SessionRow } from './outcome.ts';
import type { Pinning } from './pinning.ts';
import { preflight } from './preflight.ts';
import type { Progress } from './progress.ts';
import { type ServerAnnouncement, ServerProcess } from './server-process.ts';
import { measureSessions } from './session-memory.ts';

const HOST = '127.0.0.1';

/** Measures the contenders, one process at a time, round after round. */
export class Benchmark {
  readonly #options: BenchOptions;
  readonly #pinning: Pinning;
  readonly #progress: Progress;
  readonly #results = new RoundResults();
  readonly #programs = new Map<Contender, ServerProgram>();

  constructor(options: BenchOptions, pinning: Pinning, progress: Progress) {
    this.#options = options;
    this.#pinning = pinning;
    this.#progress = progress;
  }

  async run(contenders: readonly Contender[]): Promise<Outcome> {
    const { rounds, sessions } = this.#options;
    for (const contender of contenders) await this.#prepare(contender);
    for (let round = 1; round <= rounds; round += 1) {
      this.#results.startRound();
      for (const contender of contenders) {
        for (const way of contender.ways) await this.#measure(contender, way, `round ${round} of ${rounds}`);
      }
    }
    const sessionRows: SessionRow[] = [];
    if (sessions > 0) {
      for (const contender of contenders) if (contender.ways.includes('session')) sessionRows.push(await this.#measureSessions(contender));
    }
    return { rows: this.#results.rows(contenders), sessions: sessionRows, generatorBusy: this.#results.generatorBusy };
  }

  async #prepare(contender: Contender): Promise<void> {
    this.#progress.step(`preparing ${contender.title}`);
    try {
      this.#programs.set(contender, await contender.prepare());
    } catch (error) {
      this.#fail(contender, undefined, `it cannot be installed: ${(error as Error).message}`);
    }
  }

  /** A fresh process, so that no row is warmed up, or worn, by another. */
  async #measure(contender: Contender, way: Way, where: string): Promise<void> {
    const program = this.#programs.get(contender);
    if (program === undefined || this.#results.failed(contender, way)) return;
    this.#progress.step(`${where}: ${contender.title}, ${WAY_TITLE[way]}`);
    try {
      const server = await ServerProcess.start(program, way === 'session' ? 'sessions' : 'stateless', this.#pinning.server);
      const { auditFile } = server.announcement;
      let result: LoadResult | undefined;
      let audited: number | undefined;
      try {
        await preflight(endpointOf(server.announcement), way, server.announcement);
        result = await this.#load(server.announcement, way);
      } finally {
        audited = await server.stop(() => (auditFile === undefined ? undefined : auditedCalls(auditFile)));
      }
      checkAudit(result, audited);
      this.#results.add(contender, way, result);
      this.#progress.step(`${where}: ${contender.title}, ${WAY_TITLE[way]}: ${Math.round(result.requestsPerSecond)} req/s`);
    } catch (error) {
      this.#fail(contender, way, (error as Error).message);
    }
  }

  async #load(announcement: ServerAnnouncement, way: Way): Promise<LoadResult> {
    const { connections, seconds, warmUpSeconds } = this.#options;
    const job: LoadJob = {
      ...endpointOf(announcement),
      way,
      authorizations: announcement.authorizations ?? [],
      connections,
      warmUpMs: warmUpSeconds * 1000,
      durationMs: seconds * 1000,
    };
    return generate(job, this.#pinning.generator);
  }

  async #measureSessions(contender: Contender): Promise<SessionRow> {
    this.#progress.step(`memory of a session: ${contender.title}`);
    const program = this.#programs.get(contender);
    if (program === undefined) return { contender, problem: 'it cannot be installed' };
    try {
      const server = await ServerProcess.start(program, 'sessions', this.#pinning.server);
      try {
        const { authorizations = [] } = server.announcement;
        const memory = await measureSessions(endpointOf(server.announcement), server, this.#options.sessions, authorizations[0]);
        return memory === undefined ? { contender, problem: 'it gives out no session ids: it keeps no sessions' } : { contender, memory };
      } finally {
        await server.stop(() => undefined);
      }
    } catch (error) {
      return { contender, problem: (error as Error).message };
    }
  }

  #fail(contender: Contender, way: Way | undefined, problem: string): void {
    this.#results.fail(contender, way, problem);
    this.#progress.note(`${contender.title}${way === undefined ? '' : `, ${WAY_TITLE[way]}`}: ${problem}`);
  }
}

/** @throws Error when a call is not in the audit file. */
function checkAudit({ sent }: LoadResult, audited: number | undefined): void {
  // One more than the load: the call before it.
  if (audited !== undefined && audited !== sent + 1) throw new Error(`its audit trail has ${audited} of ${sent + 1} calls`);
}

function endpointOf({ port, path = '/mcp' }: ServerAnnouncement): Endpoint {
  return { host: HOST, port, path };
}
