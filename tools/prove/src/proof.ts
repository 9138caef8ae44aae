import { parseArgs } from 'node:util';

/** What a proof found. */
export interface Finding {
  /** Whether every promise held. */
  readonly held: boolean;
  /** The one line to quote: what was counted and how often it held. */
  readonly figure: string;
  /** What was found in full, printed before the figure. */
  readonly table?: string;
  /** What broke first, for whoever has to mend it. */
  readonly details?: readonly string[];
}

/** A promise that is checked a great many times. */
export interface Proof {
  /** As in `npm run prove:NAME`. */
  readonly name: string;
  /** How many cases a full run checks; `--n` replaces it. */
  readonly n: number;
  /** Checks `n` cases. `progress` is to be called with the cases done so far; it is cheap. */
  run(n: number, progress: (done: number) => void): Promise<Finding>;
}

/** Runs a proof as a command: progress on a terminal, the figure as the last line, exit code 1 if it did not hold. */
export async function main(proof: Proof): Promise<void> {
  const { values } = parseArgs({ options: { n: { type: 'string', default: String(proof.n) } } });
  const n = Number(values.n);
  if (!Number.isInteger(n) || n < 1) {
    console.error(`--n: expected a positive integer, got '${values.n}'`);
    process.exitCode = 2;
    return;
  }
  const finding = await proof.run(n, progressOn(process.stderr, proof.name, n));
  if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');
  if (finding.table !== undefined) console.log(`${finding.table}\n`);
  for (const detail of finding.details ?? []) console.error(detail);
  console.log(`prove:${proof.name}: ${finding.figure}`);
  process.exitCode = finding.held ? 0 : 1;
}

const INTERVAL_MS = 250;

function progressOn(terminal: NodeJS.WriteStream, name: string, n: number): (done: number) => void {
  if (!terminal.isTTY) return () => {};
  let last = 0;
  return (done) => {
    const now = performance.now();
    if (now - last < INTERVAL_MS) return;
    last = now;
    terminal.write(`\r\x1b[Kprove:${name} ${done.toLocaleString('en')} of ${n.toLocaleString('en')} (${Math.floor((100 * done) / n)} %)`);
  };
}
