import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { clusterLimits } from '../src/cluster.js';
import { RateLimitedRPC } from '../src/index.js';

const program = fileURLToPath(new URL('fixtures/cluster-program.ts', import.meta.url));
const hook = new URL('fixtures/source.mjs', import.meta.url).href;

it('workers together let through what one process would; without a primary that counts, calls fail', async () => {
  const args = ['--conditions=@mcp-blocks/source', '--disable-warning=ExperimentalWarning', '--import', hook, program];
  // Ends by itself only when no limiter holds its process.
  const { stdout } = await promisify(execFile)(process.execPath, args, { timeout: 15_000 });
  const { passed, status, silent } = JSON.parse(stdout) as { passed: number[]; status: unknown[]; silent: string[] };
  expect(passed.reduce((sum, count) => sum + count, 0)).toBe(10);
  expect(status).toContainEqual({
    limit: 'method',
    requests: 10,
    windowMs: 3_600_000,
    used: 10,
    remaining: 0,
    resetMs: expect.any(Number),
  });
  expect(silent).toEqual(['unavailable', 'unavailable', 'unavailable']);
});

it('names wrong options, and says where it can be used', () => {
  expect(() => clusterLimits({ timeoutMs: 0 })).toThrow(expect.objectContaining({ name: 'ConfigurationError', option: 'timeoutMs' }));
  const limits = [{ by: 'principal', requests: 1, windowMs: 1 }] as const;
  expect(() => new RateLimitedRPC({ limits, store: clusterLimits() })).toThrow(expect.objectContaining({ option: 'store' }));
});
