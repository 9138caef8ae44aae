import { execFile } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { runAuditCommand } from '../src/command.js';
import type { TrailHead } from '../src/index.js';
import { event, KINDS, openSink, trailPath } from './trails.js';

const KEY = 'a-key-of-16-chars';

async function mcpAudit(args: readonly string[], anchorKey?: string): Promise<{ code: number; stdout: string }> {
  let stdout = '';
  const print = (line: string) => void (stdout += `${line}\n`);
  const code = await runAuditCommand(args, { print, write: async (text) => void (stdout += text), anchorKey });
  return { code, stdout };
}

async function written(kind: (typeof KINDS)[number]): Promise<{ path: string; head: TrailHead }> {
  const path = trailPath(kind);
  const sink = openSink(kind, path);
  for (let number = 1; number <= 3; number += 1) sink.record({ ...event(number * 1000), target: `t${number}` });
  await sink.close();
  return { path, head: sink.head };
}

it('the command as it is installed verifies and exports', async () => {
  const { path } = await written('file');
  const cli = fileURLToPath(new URL('../src/cli.ts', import.meta.url));
  const hook = new URL('fixtures/source.mjs', import.meta.url).href;
  const nodeArgs = ['--conditions=@mcp-blocks/source', '--disable-warning=ExperimentalWarning', '--import', hook, cli];
  const run = (...args: string[]) =>
    new Promise<object>((resolve) => {
      execFile(process.execPath, [...nodeArgs, ...args], (error, stdout, stderr) => resolve({ code: error?.code ?? 0, stdout, stderr }));
    });
  const [exported, failed] = await Promise.all([run('export', path, '--format', 'jsonl'), run('verify', '/nothing/here')]);
  expect(exported).toEqual({ code: 0, stdout: readFileSync(path, 'utf8'), stderr: '' });
  expect(failed).toMatchObject({ code: 2, stdout: expect.stringContaining('ENOENT'), stderr: '' });
});

describe('mcp-audit verify', () => {
  it.each(KINDS)('says in one line that a %s trail is intact, exit 0', async (kind) => {
    const { path, head } = await written(kind);
    const known = `3:${head.hash}`;
    for (const args of [[path], [path, '--head', known]]) {
      expect(await mcpAudit(['verify', ...args])).toEqual({ code: 0, stdout: `${path}: intact, 3 records, head ${known}\n` });
    }
  });

  it('says what is wrong and where, exit 1', async () => {
    const { path, head } = await written('file');
    const lines = readFileSync(path, 'utf8').split('\n');
    writeFileSync(path, lines.toSpliced(1, 1).join('\n'));
    expect(await mcpAudit(['verify', path])).toEqual({
      code: 1,
      stdout: `${path}: NOT INTACT, line 2: record 2 is missing: record 3 follows 1; 1 records before it are intact\n`,
    });
    writeFileSync(path, lines.join('\n'));
    const other = await mcpAudit(['verify', path, '--head', `4:${head.hash}`]);
    expect(other).toMatchObject({ code: 1, stdout: expect.stringContaining('ends at record 3, and record 4 was there') });
  });
});

it('mcp-audit query prints what matches and the cursor of the next page', async () => {
  const { path } = await written('sqlite');
  const first = await mcpAudit(['query', path, '--actor', 'alice', '--limit', '2', '--from', '1970-01-01T00:00:01Z']);
  expect(
    first.stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line).event?.target ?? JSON.parse(line)),
  ).toEqual(['t1', 't2', { cursor: '2' }]);
  const second = await mcpAudit(['query', path, '--actor', 'alice', '--cursor', '2']);
  expect(JSON.parse(second.stdout)).toMatchObject({ seq: 3 });
  expect(await mcpAudit(['query', path, '--type', 'other'])).toEqual({ code: 0, stdout: '' });
});

it('mcp-audit prune prunes, and verify says so', async () => {
  const { path, head } = await written('file');
  expect(await mcpAudit(['prune', path, '--before', '2500'], KEY)).toEqual({ code: 0, stdout: `${path}: 2 records pruned, 1 kept\n` });
  const pruned = (signature: string) =>
    expect.stringMatching(new RegExp(`intact, 1 records, head 3:${head.hash}, 1 to 2 pruned .*${signature}`));
  expect(await mcpAudit(['verify', path], KEY)).toEqual({ code: 0, stdout: pruned('signature right') });
  expect(await mcpAudit(['verify', path])).toEqual({ code: 0, stdout: pruned('not checked') });
  expect(await mcpAudit(['verify', path], `${KEY}!`)).toMatchObject({ code: 1, stdout: expect.stringContaining('without the key') });
  expect(await mcpAudit(['prune', path, '--keep', '0'], KEY)).toMatchObject({
    stdout: expect.stringContaining('1 records pruned, 0 kept'),
  });
});

it.each<[args: string[], says: RegExp]>([
  [['verify', '/nothing/here.jsonl'], /could not be checked: ENOENT/],
  [['query', '/nothing/here.jsonl'], /could not be queried: ENOENT/],
  [['prune', 'x'], /could not be pruned: before: expected either/],
  [['export', 'x'], /could not be exported: format: expected 'csv' or 'jsonl'/],
  [['verify'], /verify: expected one trail[\s\S]*Usage/],
  [['check', 'x'], /expected one of verify, query, export, prune, got 'check'[\s\S]*Usage/],
  [['toString', 'x'], /Usage/],
  [['verify', 'x', '--head', '3'], /<seq>:<64 hex digits>, got '3'/],
  [['verify', 'x', '--actor', 'a'], /verify has no option --actor/],
  [['verify', 'x', '--fast'], /--fast[\s\S]*Usage/],
  [['query', 'x', '--limit', '-1'], /Usage/],
  [['query', 'x', '--limit=many'], /--limit: expected a number, got 'many'/],
  [['query', 'x', '--from', 'yesterday'], /--from: expected ISO 8601 or epoch milliseconds, got 'yesterday'/],
  [['query', 'x', '--outcome', 'good'], /outcome: expected one of allowed/],
])('%j is told how to do better, exit 2', async (args, says) => {
  const { code, stdout } = await mcpAudit(args);
  expect(stdout).toMatch(says);
  expect(code).toBe(2);
});

it('explains itself, exit 0', async () => {
  expect(await mcpAudit(['--help'])).toMatchObject({ code: 0, stdout: expect.stringContaining('Usage: mcp-audit verify') });
});
