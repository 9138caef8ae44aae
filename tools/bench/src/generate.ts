import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { LoadJob, LoadResult } from './load.ts';

const GENERATOR = fileURLToPath(new URL('./generator.ts', import.meta.url));

/**
 * Runs the load generator in a process of its own, where `prefix` puts it.
 *
 * @throws Error when it ends without a result, when no call was answered, and when a single answer was wrong.
 */
export async function generate(job: LoadJob, prefix: readonly string[]): Promise<LoadResult> {
  const [command, ...args] = [...prefix, process.execPath, GENERATOR, JSON.stringify(job)];
  const child = spawn(command as string, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  let errors = '';
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString()));
  const [code] = (await once(child, 'close')) as [number | null];
  if (code !== 0) throw new Error(`the load generator ended with ${code}: ${errors.trim().slice(-300)}`);
  const result = JSON.parse(output) as LoadResult;
  if (result.failures > 0) throw new Error(`${result.failures} of ${result.sent} answers were wrong: ${result.reasons.join('; ')}`);
  if (result.answers === 0) throw new Error('no call was answered in the measured time');
  return result;
}
