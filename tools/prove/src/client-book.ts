import type { AuditAnswer } from './client-ledger-process.ts';

/** What kinds of calls there are, named after their tools. */
export const KINDS = ['read', 'put', 'add_by_key', 'add'] as const;
export type Kind = (typeof KINDS)[number];

/**
 * What a caller was told. `ambiguous`: an AmbiguousOutcomeError. `sent`: another error that says it was sent.
 * `cancelled`: by the caller, and that it was sent. `not run`: an error that says nothing of the kind.
 */
export type Outcome = 'nothing yet' | 'answered' | 'ambiguous' | 'sent' | 'cancelled' | 'not run';

/** What was promised of each call, and was not so. */
export interface Verdict {
  /** Effects that happened twice where the caller had not allowed it. */
  readonly duplicates: number;
  /** Calls that were told a success or a failure that was none, or nothing at all. */
  readonly silentLosses: number;
  /** Outcomes nobody can know that were not reported as such, or with a key that leads elsewhere. */
  readonly unreported: number;
  readonly problems: readonly string[];
}

interface Call {
  readonly kind: Kind;
  outcome: Outcome;
}

/** Every call ever made, by its id, and what its caller was told. */
export class CallBook {
  readonly #calls: Call[] = [];
  readonly #ambiguous: { readonly id: number; readonly key: string }[] = [];
  readonly #wrong: string[] = [];
  /** How often calls failed otherwise than as ambiguous, by what they said. */
  readonly failures = new Map<string, number>();
  longestMs = 0;

  get size(): number {
    return this.#calls.length;
  }

  get ambiguous(): readonly { readonly id: number; readonly key: string }[] {
    return this.#ambiguous;
  }

  begin(kind: Kind): number {
    return this.#calls.push({ kind, outcome: 'nothing yet' }) - 1;
  }

  end(id: number, outcome: Outcome, tookMs: number): void {
    (this.#calls[id] as Call).outcome = outcome;
    this.longestMs = Math.max(this.longestMs, tookMs);
  }

  reported(id: number, key: string): void {
    this.#ambiguous.push({ id, key });
  }

  failed(how: string): void {
    this.failures.set(how, (this.failures.get(how) ?? 0) + 1);
  }

  /** Something that must not be, whatever the ledger says. */
  wrong(problem: string): void {
    this.#wrong.push(problem);
  }

  outcomes(kind: Kind): ReadonlyMap<Outcome, number> {
    const numbers = new Map<Outcome, number>();
    for (const call of this.#calls) if (call.kind === kind) numbers.set(call.outcome, (numbers.get(call.outcome) ?? 0) + 1);
    return numbers;
  }

  /** How many calls of an ambiguous outcome had their effect. */
  hadEffect({ counts }: AuditAnswer): number {
    return this.#ambiguous.filter(({ id }) => (counts[id] ?? 0) > 0).length;
  }

  /** @param from - calls before this one are not looked at. */
  judge({ counts, strangers, keysChanged }: AuditAnswer, from = 0): Verdict {
    const problems: string[] = [...this.#wrong];
    let duplicates = 0;
    let silentLosses = 0;
    let unreported = 0;
    for (const [id, { kind, outcome }] of this.#calls.entries()) {
      if (id < from) continue;
      const count = counts[id] ?? 0;
      const isOnce = kind === 'add' || kind === 'add_by_key';
      const say = (what: string) => problems.push(`call ${id} (${kind}) ${what}: told '${outcome}', had its effect ${count} times`);
      if (isOnce && count > 1) {
        duplicates += 1;
        say('was repeated');
      }
      if (outcome === 'nothing yet') {
        silentLosses += 1;
        say('was never settled');
      } else if (kind !== 'read' && (outcome === 'answered') !== count > 0 && (outcome === 'answered' || outcome === 'not run')) {
        silentLosses += 1;
        say('was told what is not so');
      } else if (kind === 'add' && outcome === 'sent' && count > 0) {
        unreported += 1;
        say('may have run and did not say so');
      }
    }
    for (const id of strangers) {
      if (id < from) continue;
      unreported += 1;
      problems.push(`call ${id} was reported as ambiguous with a key that is not its own`);
    }
    if (keysChanged > 0) problems.push(`${keysChanged} times a call came with another idempotency key than before`);
    return { duplicates, silentLosses, unreported, problems };
  }
}
