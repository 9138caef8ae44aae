import cluster, { type Worker } from 'node:cluster';
import type { Clock } from '@mcp-blocks/core';
import { settledWithin } from '../deadline.js';
import { isTagged, ORDERS_VARIABLE, type Order, tagged, type Word, type WorkerFigures, type WorkerOrders } from './messages.js';
import type { WorkerExit, WorkerState } from './pool-events.js';

/** Beyond its deadline, for a worker to close what it has and end. */
const GRACE_MS = 5_000;

/** One process of a pool. */
export class WorkerProcess {
  readonly index: number;
  /** Where its server listens, once it serves. */
  endpoints: readonly string[] = [];
  /** What it counted when it was last asked. */
  lastFigures: WorkerFigures | undefined;
  state: WorkerState = 'starting';
  /** Resolves when it serves; rejects when it ends before. */
  readonly serving: Promise<void>;
  /** Resolves when it has ended. */
  readonly ended: Promise<WorkerExit>;
  readonly #worker: Worker;
  readonly #clock: Clock;
  readonly #reports = new Map<number, (figures: WorkerFigures | undefined) => void>();
  #asked = 0;
  #isExpected = false;

  constructor(program: string, orders: WorkerOrders, environment: Readonly<Record<string, string>>, clock: Clock) {
    this.index = orders.index;
    this.#clock = clock;
    // Holds for every fork from now on: who forks workers of their own in this process says so each time, too.
    cluster.setupPrimary({ exec: program });
    this.#worker = cluster.fork({ ...environment, [ORDERS_VARIABLE]: JSON.stringify(orders) });
    let failure: string | undefined;
    this.ended = new Promise((resolve) => {
      this.#worker.once('exit', (code, signal) => {
        for (const settle of this.#reports.values()) settle(undefined);
        resolve({ index: this.index, pid: this.pid, code, signal, expected: this.#isExpected });
      });
    });
    this.serving = new Promise((resolve, reject) => {
      this.#worker.on('error', (error) => (failure ??= error.message));
      this.#worker.on('message', (word: unknown) => {
        if (!isTagged<Word>(word)) return;
        if (word.kind === 'failed') failure = word.message;
        else if (word.kind === 'report') this.#reports.get(word.id)?.(word.figures);
        else if (word.kind === 'drained') this.#drained(word.figures);
        else {
          this.endpoints = word.endpoints;
          if (this.state === 'starting') this.state = 'serving';
          resolve();
        }
      });
      void this.ended.then(({ code, signal }) => {
        reject(new Error(`Worker ${this.index} did not start: ${failure ?? `it ended with ${code ?? signal}`}`));
      });
    });
    this.serving.catch(() => {});
  }

  get pid(): number {
    return this.#worker.process.pid ?? 0;
  }

  /** What it counted; `undefined` when it does not say within `timeoutMs`. */
  async report(timeoutMs: number): Promise<WorkerFigures | undefined> {
    if (this.state === 'starting' || !this.#worker.isConnected()) return undefined;
    const id = (this.#asked += 1);
    const answer = new Promise<WorkerFigures | undefined>((resolve) => this.#reports.set(id, resolve));
    this.#say({ do: 'report', id });
    const cancel = this.#clock.setTimeout(() => this.#reports.get(id)?.(undefined), timeoutMs);
    const figures = await answer;
    cancel();
    this.#reports.delete(id);
    if (figures !== undefined) this.lastFigures = figures;
    return figures;
  }

  /** Has it serve what it has begun, and end. Resolves with whether it did by itself; else it is killed. */
  async drain(deadlineMs: number): Promise<boolean> {
    this.#isExpected = true;
    // There is nothing to drain, and nobody yet who could.
    if (this.state === 'starting') return this.kill();
    this.state = 'draining';
    this.#say({ do: 'drain', deadlineMs });
    if (await settledWithin(this.ended, deadlineMs + GRACE_MS, this.#clock)) return true;
    await this.kill();
    return false;
  }

  async kill(): Promise<true> {
    this.#isExpected = true;
    this.#worker.process.kill('SIGKILL');
    await this.ended;
    return true;
  }

  #drained(figures: WorkerFigures): void {
    this.lastFigures = figures;
    this.state = 'draining';
  }

  #say(order: Order): void {
    // One that is gone hears nothing; its end is seen.
    if (this.#worker.isConnected()) this.#worker.send(tagged(order), () => {});
  }
}
