import { fileURLToPath } from 'node:url';
import type { ServerProgram } from '../contenders.ts';
import { generate } from '../generate.ts';
import type { LoadJob, LoadResult } from '../load.ts';
import type { Pinning } from '../pinning.ts';
import { preflight } from '../preflight.ts';
import { type ServerMode, ServerProcess } from '../server-process.ts';

/** How long and how often. */
export interface SecuredCounts {
  readonly rounds: number;
  readonly seconds: number;
  readonly warmUpSeconds: number;
  /** Ends each row after so many requests, whatever the time. Default: the time decides. */
  readonly requests?: number;
  /** Requests over which memory is watched. */
  readonly n: number;
  /** Idle sessions and connections. */
  readonly idle: number;
}

/** What every measurement has at hand. */
export interface Bench {
  readonly counts: SecuredCounts;
  readonly pinning: Pinning;
  step(text: string): void;
}

/** What a measurement gives: a table and what it says of the aim. */
export interface Section {
  readonly title: string;
  /** In Markdown. */
  readonly table: string;
  /** For the last line of the run. */
  readonly figure: string;
  /** How it is measured. */
  readonly note: string;
}

const FOLDER = fileURLToPath(new URL('../..', import.meta.url));
const CONNECTIONS = 32;
/** For a load that ends by its requests. */
export const UNTIL_DONE_MS = 3_600_000;

export function program(file: string, ...args: readonly string[]): ServerProgram {
  return { file: fileURLToPath(new URL(`../servers/${file}.ts`, import.meta.url)), cwd: FOLDER, args };
}

/** Starts a server, has it used, and stops it. */
export async function withServer<Result>(
  { pinning }: Bench,
  started: ServerProgram,
  use: (server: ServerProcess) => Promise<Result>,
  { mode = 'stateless', prefix = pinning.server }: { readonly mode?: ServerMode; readonly prefix?: readonly string[] } = {},
): Promise<Result> {
  const server = await ServerProcess.start(started, mode, prefix);
  try {
    return await use(server);
  } finally {
    await server.stop(() => undefined);
  }
}

/** Puts a server under load that was first seen to refuse what it has to; the given parts of the job go before the usual. */
export async function load(
  { counts, pinning }: Bench,
  { announcement }: ServerProcess,
  given: Partial<LoadJob> = {},
  prefix: readonly string[] = pinning.generator,
): Promise<LoadResult> {
  const { port, path = '/mcp', authorizations = [] } = announcement;
  const endpoint = { host: '127.0.0.1', port, path };
  await preflight(endpoint, 'modern', announcement);
  const { requests } = counts;
  const length =
    requests === undefined
      ? { warmUpMs: counts.warmUpSeconds * 1000, durationMs: counts.seconds * 1000 }
      : { warmUpMs: 0, durationMs: UNTIL_DONE_MS, requests };
  return generate({ ...endpoint, ...length, way: 'modern', authorizations, connections: CONNECTIONS, ...given }, prefix);
}
