import { parseArgs } from 'node:util';

/** What the command line asks for. */
export interface BenchOptions {
  readonly rounds: number;
  readonly seconds: number;
  readonly warmUpSeconds: number;
  readonly connections: number;
  /** Idle sessions opened to measure what one takes; 0: not measured. */
  readonly sessions: number;
  /** Ids of the contenders to measure; undefined: all. The limit always is: it is what ratios refer to. */
  readonly only: ReadonlySet<string> | undefined;
  /** Folder for benchmarks.md and benchmarks.svg; undefined: nothing is written. */
  readonly out: string | undefined;
}

export const USAGE = `Usage: npm run bench -- [options]
       npm run bench -- balance [options]
       npm run bench -- client [--quick]   the client; see its --help
       npm run bench -- gateway [options]   the gateway beside other proxies; see its --help
       npm run bench -- secured [options]   the secured server in depth; see its --help
       npm run bench -- websocket [options]   WebSocket connections; see its --help

Measures a tools/call echo with ten tools registered, 32 connections, the server on one core: requests per second,
also as a ratio to plain node:http and to SDK v2 in the same round; latency; memory per idle session.

  --rounds N     rounds, interleaved; the table has their medians (default 5)
  --seconds N    measured seconds per row and round (default 3)
  --warm-up N    seconds of load before those (default 2)
  --only a,b     only these (IDS); plain node:http is always measured
  --sessions N   idle sessions for the memory of one; 0 leaves it out (default 500)
  --quick        one short round, to see that everything runs: figures of no worth
  --out FOLDER   where benchmarks.md and benchmarks.svg go (default docs for a full run; else they are not written)`;

const QUICK = { rounds: 1, seconds: 0.5, warmUpSeconds: 0.5, sessions: 50 };
const FULL = { rounds: 5, seconds: 3, warmUpSeconds: 2, sessions: 500 };
const CONNECTIONS = 32;

/**
 * Reads the command line; undefined when help is asked for.
 *
 * @throws Error naming the argument that is wrong and what is expected.
 */
export function parseOptions(args: readonly string[], ids: readonly string[], docsFolder: string): BenchOptions | undefined {
  const { values } = parseArgs({
    args: [...args],
    options: {
      rounds: { type: 'string' },
      seconds: { type: 'string' },
      'warm-up': { type: 'string' },
      sessions: { type: 'string' },
      only: { type: 'string' },
      out: { type: 'string' },
      quick: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) return undefined;
  const defaults = values.quick ? QUICK : FULL;
  const only = values.only?.split(',').map((id) => id.trim());
  const unknown = only?.find((id) => !ids.includes(id));
  if (unknown !== undefined) throw new Error(`--only: there is no '${unknown}'; known are ${ids.join(', ')}`);
  const full = !values.quick && only === undefined;
  return {
    rounds: numberOption('--rounds', values.rounds, defaults.rounds, { min: 1, whole: true }),
    seconds: numberOption('--seconds', values.seconds, defaults.seconds, { min: 0.1 }),
    warmUpSeconds: numberOption('--warm-up', values['warm-up'], defaults.warmUpSeconds, { min: 0 }),
    sessions: numberOption('--sessions', values.sessions, defaults.sessions, { min: 0, whole: true }),
    connections: CONNECTIONS,
    only: only === undefined ? undefined : new Set(only),
    out: values.out ?? (full ? docsFolder : undefined),
  };
}

/** @throws Error naming the argument that is wrong and what is expected. */
export function numberOption(
  name: string,
  text: string | undefined,
  otherwise: number,
  { min, whole = false }: { min: number; whole?: boolean },
): number {
  if (text === undefined) return otherwise;
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value) || value < min || (whole && !Number.isInteger(value))) {
    throw new Error(`${name}: '${text}' is not a ${whole ? 'whole ' : ''}number of at least ${min}`);
  }
  return value;
}
