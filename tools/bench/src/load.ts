import { connect, type Socket } from 'node:net';
import { wrongAnswer } from './echo-answer.ts';
import { type Caller, EchoRequestWriter, RequestNumbers, type Way } from './echo-request.ts';
import type { Endpoint } from './http-call.ts';
import { HttpResponseReader } from './http-response-reader.ts';
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

const ANSWER_TIMEOUT_MS = 10_000;
const MAX_REASONS = 3;
/** A server that only fails is not worth the whole time. */
const MAX_FAILURES = 1000;

/**
 * Keeps `connections` requests in progress until the time is over; checks every answer.
 *
 * @throws Error when a session is to be opened and cannot be.
 */
export async function runLoad(job: LoadJob): Promise<LoadResult> {
  const callers: Caller[] = [];
  for (let index = 0; index < job.connections; index += 1) callers.push(await callerOf(job, index));
  const run = new Run(job);
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

class Run {
  readonly #job: LoadJob;
  readonly #numbers = new RequestNumbers();
  readonly #latenciesMs: number[] = [];
  readonly #reasons = new Set<string>();
  readonly #startsAt: number;
  readonly #endsAt: number;
  #failures = 0;
  #sent = 0;
  #cpuAtStart: NodeJS.CpuUsage | undefined;
  #cpuUs = 0;

  constructor(job: LoadJob) {
    this.#job = job;
    this.#startsAt = performance.now() + job.warmUpMs;
    this.#endsAt = this.#startsAt + job.durationMs;
  }

  /** Uses connections, one after the other as the server closes them, until the time is over. */
  async drive(caller: Caller): Promise<void> {
    const writer = new EchoRequestWriter(this.#job, this.#job.way, caller);
    while (performance.now() < this.#endsAt && this.#failures < MAX_FAILURES) await this.#connection(writer);
  }

  #connection(writer: EchoRequestWriter): Promise<void> {
    const socket = connect({ host: this.#job.host, port: this.#job.port, noDelay: true });
    return new Promise((resolve) => {
      const reader = new HttpResponseReader();
      let number = 0;
      let sentAt = 0;
      let waiting = false;
      const ask = () => {
        sentAt = performance.now();
        if (sentAt >= this.#endsAt || this.#failures >= MAX_FAILURES) return void socket.end();
        number = this.#numbers.next();
        this.#sent += 1;
        waiting = true;
        socket.write(writer.write(number));
      };
      socket.setTimeout(ANSWER_TIMEOUT_MS, () => socket.destroy(new Error(`no answer within ${ANSWER_TIMEOUT_MS} ms`)));
      socket.once('connect', ask);
      socket.on('data', (chunk) => {
        const response = read(reader, chunk, socket);
        if (response === undefined) return;
        waiting = false;
        const now = performance.now();
        const wrong = wrongAnswer(response, number);
        if (wrong === undefined) this.#count(now, now - sentAt);
        else this.#fail(wrong);
        if (response.lastOnConnection) socket.end();
        else ask();
      });
      let broken: Error | undefined;
      socket.once('error', (error) => (broken = error));
      socket.once('close', () => {
        if (broken !== undefined) this.#fail(`the connection broke: ${broken.message}`);
        else if (waiting) this.#fail('the connection was closed without an answer');
        resolve();
      });
    });
  }

  #count(now: number, latencyMs: number): void {
    if (now < this.#startsAt || now > this.#endsAt) return;
    this.#cpuAtStart ??= process.cpuUsage();
    this.#latenciesMs.push(latencyMs);
    // Often enough for a share of the time, too seldom to take part in it.
    if (this.#latenciesMs.length % 256 === 0) this.#readCpu();
  }

  #readCpu(): void {
    const { user, system } = process.cpuUsage(this.#cpuAtStart);
    this.#cpuUs = user + system;
  }

  #fail(reason: string): void {
    this.#failures += 1;
    if (this.#reasons.size < MAX_REASONS) this.#reasons.add(reason);
  }

  result(): LoadResult {
    const latencies = Float64Array.from(this.#latenciesMs);
    return {
      answers: latencies.length,
      requestsPerSecond: latencies.length / (this.#job.durationMs / 1000),
      p50Ms: percentile(latencies, 50),
      p99Ms: percentile(latencies, 99),
      failures: this.#failures,
      sent: this.#sent,
      reasons: [...this.#reasons],
      generatorBusy: this.#cpuUs / 1000 / this.#job.durationMs,
    };
  }
}

function read(reader: HttpResponseReader, chunk: Buffer, socket: Socket) {
  try {
    return reader.feed(chunk);
  } catch (error) {
    socket.destroy(error as Error);
    return undefined;
  }
}
