import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { nextMessage } from './client-messages.ts';

const PROGRAM = fileURLToPath(new URL('client-ledger.ts', import.meta.url));

/** Calls whose outcome was reported as ambiguous, with the idempotency key that was reported. */
export interface AuditQuestion {
  readonly ambiguous: readonly { readonly id: number; readonly key: string }[];
}

export interface AuditAnswer {
  /** How often each call has had its effect, by id. */
  readonly counts: Uint8Array;
  /** Ambiguous calls of whose effects the reported key tells something else. */
  readonly strangers: readonly number[];
  /** How often a call came with another key than before. */
  readonly keysChanged: number;
}

/** The ledger's process. */
export class Ledger {
  readonly port: number;
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess, port: number) {
    this.#child = child;
    this.port = port;
  }

  static async start(): Promise<Ledger> {
    const child = fork(PROGRAM, { execArgv: [], serialization: 'advanced' });
    return new Ledger(child, await nextMessage<number>(child));
  }

  audit(question: AuditQuestion): Promise<AuditAnswer> {
    const answer = nextMessage<AuditAnswer>(this.#child);
    this.#child.send(question);
    return answer;
  }

  stop(): void {
    this.#child.kill('SIGKILL');
  }
}
