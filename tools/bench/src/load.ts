import { EchoConnection } from './echo-connection.ts';
import { type Caller, EchoRequestWriter, RequestNumbers, type Way } from './echo-request.ts';
import type { Endpoint } from './http-call.ts';
import { openSession } from './legacy-session.ts';
import { percentile } from './statistics.ts';

/** What the generator is to do. */
export interface LoadJob extends Endpoint {
  readonly way: Way;
  /** Values of the `Authorization` header; the connections share them out. Empty: none is sent. */
  readonly authorizations: readonly string[];
  /** Connections, each with one request at a time. */
  readonly connections: number;
  /** Load before the measured time; its answers are checked but not counted. */
  readonly warmUpMs: number;
  readonly durationMs: number;
  /**
   * Requests that become due each second, evenly, whether the ones before are answered or not; the latency of each
   * counts from when it was due, so that none is left out by waiting for another. Default: a connection asks again
   * as soon as it is answered.
   */
  readonly ratePerSecond?: number;
  /** Ends after so many requests in all, whatever the time. Default: the time decides. */
  readonly requests?: number;
}

/** What the generator saw in the measured time. */
export interface LoadResult {
  /** Correct answers. */
  readonly answers: number;
  readonly requestsPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Answers that were not correct and connections that broke, warm-up included. */
  readonly failures: number;
  /** Everything asked, warm-up included. */
  readonly sent: number;
  /** The first few reasons, for the reader. */
  readonly reasons: readonly string[];
  /** Share of one core that the generator itself was busy. Near 1 it is the generator that was measured. */
  readonly generatorBusy: number;
}

const MAX_REASONS = 3;
/** A server that only fails is not worth the whole time. */
const MAX_FAILURES = 1000;
/** For what was due and could not be sent in time. */
const LATE_MS = 5_000;

/**
 * Sends requests until the time is over; checks every answer.
 *
 * @throws Error when a session is to be opened and cannot be.
 */
export async function runLoad(job: LoadJob): Promise<LoadResult> {
  const callers: Caller[] = [];
  for (let index = 0; index < job.connections; index += 1) callers.push(await callerOf(job, index));
  const run = job.ratePerSecond === undefined ? new Run(job) : new PacedRun(job, job.ratePerSecond);
  await Promise.all(callers.map((caller) => run.drive(caller)));
  return run.result();
}

async function callerOf(job: LoadJob, index: number): Promise<Caller> {
  const authorization = job.authorizations.length === 0 ? undefined : job.authorizations[index % job.authorizations.length];
  if (job.way !== 'session') return { authorization };
  const sessionId = await openSession(job, authorization);
  if (sessionId === undefined) throw new Error('the server gives out no session ids');
  return { authorization, sessionId };
}

/** Each connection asks as soon as it is answered. */
class Run {
  readonly #job: LoadJob;
  readonly #numbers = new RequestNumbers();
  readonly #latenciesMs: number[] = [];
  readonly #reasons = new Set<string>();
  readonly #beganAt = performance.now();
  readonly startsAt: number;
  readonly endsAt: number;
  #failures = 0;
  #sent = 0;
  #cpuAtStart: NodeJS.CpuUsage | undefined;
  #cpuUs = 0;
  #lastAt = 0;

  constructor(job: LoadJob) {
    this.#job = job;
    this.startsAt = this.#beganAt + job.warmUpMs;
    this.endsAt = this.startsAt + job.durationMs;
  }

  /** Uses connections, one after the other as the server closes them, until the time is over. */
  async drive(caller: Caller): Promise<void> {
    const writer = new EchoRequestWriter(this.#job, this.#job.way, caller);
    while (!this.isOver(performance.now())) await this.#connection(writer);
  }

  /** Nothing more is to be sent. */
  isOver(now: number): boolean {
    return now >= this.endsAt || this.hasEnough;
  }

  protected get hasEnough(): boolean {
    return this.#failures >= MAX_FAILURES || (this.#job.requests !== undefined && this.#sent >= this.#job.requests);
  }

  protected ready(connection: EchoConnection): void {
    const now = performance.now();
    if (this.isOver(now)) connection.end();
    else this.ask(connection, now);
  }

  protected ask(connection: EchoConnection, startedAt: number): void {
    connection.startedAt = startedAt;
    this.#sent += 1;
    connection.ask(this.#numbers.next());
  }

  protected gone(_connection: EchoConnection): void {}

  protected fail(reason: string, times = 1): void {
    this.#failures += times;
    if (this.#reasons.size < MAX_REASONS) this.#reasons.add(reason);
  }

  #connection(writer: EchoRequestWriter): Promise<void> {
    return new Promise((resolve) => {
      const opened = new EchoConnection(this.#job, writer, {
        ready: (connection) => this.ready(connection),
        answered: (connection, wrong) => {
          if (wrong === undefined) this.#count(connection.startedAt);
          else this.fail(wrong);
        },
        closed: (broken) => {
          if (broken !== undefined) this.fail(broken);
          this.gone(opened);
          resolve();
        },
      });
    });
  }

  #count(startedAt: number): void {
    const now = performance.now();
    if (this.#job.ratePerSecond === undefined ? now < this.startsAt || now > this.endsAt : startedAt < this.startsAt) return;
    this.#cpuAtStart ??= process.cpuUsage();
    this.#lastAt = now;
    this.#latenciesMs.push(now - startedAt);
    // Often enough for a share of the time, too seldom to take part in it.
    if (this.#latenciesMs.length % 256 === 0) this.#readCpu();
  }

  #readCpu(): void {
    const { user, system } = process.cpuUsage(this.#cpuAtStart);
    this.#cpuUs = user + system;
  }

  result(): LoadResult {
    const latencies = Float64Array.from(this.#latenciesMs);
    const durationMs = this.#job.requests === undefined ? this.#job.durationMs : Math.max(1, this.#lastAt - this.startsAt);
    return {
      answers: latencies.length,
      requestsPerSecond: latencies.length / (durationMs / 1000),
      p50Ms: percentile(latencies, 50),
      p99Ms: percentile(latencies, 99),
      failures: this.#failures,
      sent: this.#sent,
      reasons: [...this.#reasons],
      generatorBusy: this.#cpuUs / 1000 / durationMs,
    };
  }
}

/** Requests become due at a fixed rate. */
class PacedRun extends Run {
  readonly #intervalMs: number;
  readonly #firstDueAt = performance.now();
  readonly #idle: EchoConnection[] = [];
  readonly #due: number;
  #taken = 0;
  #isWatching = false;

  constructor(job: LoadJob, ratePerSecond: number) {
    super(job);
    this.#intervalMs = 1000 / ratePerSecond;
    this.#due = Math.round((job.warmUpMs + job.durationMs) / this.#intervalMs);
  }

  override isOver(now: number): boolean {
    return this.#taken >= this.#due || now >= this.endsAt + LATE_MS || this.hasEnough;
  }

  protected override ready(connection: EchoConnection): void {
    this.#idle.push(connection);
    if (this.#isWatching) return;
    this.#isWatching = true;
    // Timers come up to a millisecond late: the clock is watched instead, which keeps the generator's core busy.
    const watch = () => {
      if (this.#pass(performance.now())) setImmediate(watch);
    };
    watch();
  }

  protected override gone(connection: EchoConnection): void {
    const at = this.#idle.indexOf(connection);
    if (at !== -1) this.#idle.splice(at, 1);
  }

  override result(): LoadResult {
    if (this.#taken < this.#due) this.fail('the server does not keep up with the rate', this.#due - this.#taken);
    return super.result();
  }

  #pass(now: number): boolean {
    while (!this.isOver(now)) {
      const dueAt = this.#firstDueAt + this.#taken * this.#intervalMs;
      if (dueAt > now) return true;
      const connection = this.#idle.pop();
      if (connection === undefined) return true;
      this.#taken += 1;
      this.ask(connection, dueAt);
    }
    this.#isWatching = false;
    for (const connection of this.#idle.splice(0)) connection.end();
    return false;
  }
}
