import type { Clock } from '@mcp-blocks/core';
import type { Denial } from './access-policy.js';
import type { DecisionAnswer, DecisionPoint, DecisionRequest } from './decision-point.js';

/** What a decision point's answer came to. */
export type Verdict = { readonly allowed: true } | (Denial & { readonly failed?: true });

/** As many questions are open at a decision point that answers one at a time. */
const AT_ONCE = 16;
const ALLOWED: Verdict = Object.freeze({ allowed: true });

/** Asks a decision point. Never rejects: what goes wrong is a denial, and told to `onError`. */
export class DecisionClient {
  readonly #point: DecisionPoint;
  readonly #timeoutMs: number;
  readonly #clock: Clock;
  readonly #onError: (error: Error) => void;

  constructor(point: DecisionPoint, timeoutMs: number, clock: Clock, onError: (error: Error) => void) {
    this.#point = point;
    this.#timeoutMs = timeoutMs;
    this.#clock = clock;
    this.#onError = onError;
  }

  async ask(request: DecisionRequest): Promise<Verdict> {
    const [verdict] = await this.#failingClosed(1, async (signal) => [await this.#point.decide(request, signal)]);
    return verdict as Verdict;
  }

  async askMany(requests: readonly DecisionRequest[]): Promise<readonly Verdict[]> {
    if (requests.length === 0) return [];
    if (this.#point.decideMany !== undefined) {
      return this.#failingClosed(requests.length, async (signal) => (await this.#point.decideMany?.(requests, signal)) ?? []);
    }
    const verdicts: Verdict[] = [];
    for (let at = 0; at < requests.length; at += AT_ONCE) {
      verdicts.push(...(await Promise.all(requests.slice(at, at + AT_ONCE).map((request) => this.ask(request)))));
      // The engine is out of order: the rest would take as long each.
      if (verdicts.every((verdict) => !verdict.allowed && verdict.failed)) {
        return requests.map((_request, index) => verdicts[index] ?? (verdicts[0] as Verdict));
      }
    }
    return verdicts;
  }

  async #failingClosed(count: number, ask: (signal: AbortSignal) => Promise<readonly DecisionAnswer[]>): Promise<readonly Verdict[]> {
    const controller = new AbortController();
    let cancel = () => {};
    try {
      const late = new Promise<never>((_resolve, reject) => {
        cancel = this.#clock.setTimeout(() => {
          const error = new Error(`no answer within ${this.#timeoutMs} ms`);
          controller.abort(error);
          reject(error);
        }, this.#timeoutMs);
      });
      const answers = await Promise.race([ask(controller.signal), late]);
      if (!Array.isArray(answers) || answers.length !== count) throw new Error(`expected ${count} answers`);
      return answers.map(verdictOf);
    } catch (error) {
      const cause = error instanceof Error ? error : new Error(String(error));
      this.#onError(cause);
      const denial: Verdict = { allowed: false, failed: true, reason: `the decision point failed: ${cause.message}` };
      return Array.from({ length: count }, () => denial);
    } finally {
      cancel();
    }
  }
}

function verdictOf(answer: unknown): Verdict {
  const { allow, reason } = (typeof answer === 'object' && answer !== null ? answer : {}) as { allow?: unknown; reason?: unknown };
  if (allow === true) return ALLOWED;
  if (allow !== false) throw new Error('an answer without allow: true or allow: false');
  return { allowed: false, reason: `the decision point denied${typeof reason === 'string' && reason !== '' ? `: ${reason}` : ''}` };
}
