import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it, vi } from 'vitest';

const folder = mkdtempSync(join(tmpdir(), 'mcp-blocks-sql-'));
afterAll(() => rmSync(folder, { recursive: true }));

it.runIf(existsSync('/proc/self/task'))('does not outlive a node that is killed in the middle of a statement', async () => {
  const url = (file: string) => JSON.stringify(new URL(`../dist/servers/${file}.js`, import.meta.url).href);
  const file = JSON.stringify(join(folder, 'orders.sqlite'));
  const program = `
    import { seedDatabase } from ${url('database')};
    import { SqlProcess } from ${url('sql-process')};
    seedDatabase(${file});
    const database = new SqlProcess(${file}, 600_000);
    await database.query('SELECT 1', []);
    void database.query('WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n', []);
    console.log('running');`;
  const node = spawn(process.execPath, ['--input-type=module', '--eval', program], { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(node.stdout, 'data');
  const runner = readFileSync(`/proc/${node.pid}/task/${node.pid}/children`, 'utf8').trim();
  expect(runner).toMatch(/^\d+$/);
  node.kill('SIGKILL');
  await vi.waitFor(() => expect(existsSync(`/proc/${runner}`)).toBe(false), { timeout: 10_000 });
});
