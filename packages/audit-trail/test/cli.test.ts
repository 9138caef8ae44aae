import { execFile } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import type { TrailHead } from '../src/index.js';
import { event, KINDS, openSink, trailPath } from './trails.js';

function mcpAudit(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const cli = fileURLToPath(new URL('../src/cli.ts', import.meta.url));
  const hook = new URL('fixtures/source.mjs', import.meta.url).href;
  const nodeArgs = ['--conditions=@mcp-blocks/source', '--disable-warning=ExperimentalWarning', '--import', hook, cli];
  return new Promise((resolve) => {
    execFile(process.execPath, [...nodeArgs, ...args], (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
    });
  });
}

async function written(kind: (typeof KINDS)[number]): Promise<{ path: string; head: TrailHead }> {
  const path = trailPath(kind);
  const sink = openSink(kind, path);
  for (let number = 1; number <= 3; number += 1) sink.record(event(number));
  await sink.close();
  return { path, head: sink.head };
}

describe('mcp-audit verify', () => {
  it.each(KINDS)('says in one line that a %s trail is intact, exit 0', async (kind) => {
    const { path, head } = await written(kind);
    const known = `3:${head.hash}`;
    for (const args of [[path], [path, '--head', known]]) {
      const { code, stdout } = await mcpAudit('verify', ...args);
      expect(stdout).toBe(`${path}: intact, 3 records, head ${known}\n`);
      expect(code).toBe(0);
    }
  });

  it('says what is wrong and where, exit 1', async () => {
    const { path, head } = await written('file');
    const lines = readFileSync(path, 'utf8').split('\n');
    writeFileSync(path, lines.toSpliced(1, 1).join('\n'));
    expect(await mcpAudit('verify', path)).toMatchObject({
      code: 1,
      stdout: `${path}: NOT INTACT, line 2: record 2 is missing: record 3 follows 1; 1 records before it are intact\n`,
    });
    writeFileSync(path, lines.join('\n'));
    const other = await mcpAudit('verify', path, '--head', `4:${head.hash}`);
    expect(other).toMatchObject({ code: 1, stdout: expect.stringContaining('ends at record 3, and record 4 was there') });
  });

  it.each<[args: string[], says: RegExp]>([
    [['verify', '/nothing/here.jsonl'], /could not be checked: ENOENT/],
    [['verify'], /expected 'verify' and one trail[\s\S]*Usage/],
    [['check', 'x'], /Usage/],
    [['verify', 'x', '--head', '3'], /<seq>:<64 hex digits>, got '3'/],
    [['verify', 'x', '--fast'], /--fast[\s\S]*Usage/],
  ])('%j is told how to do better, exit 2', async (args, says) => {
    const { code, stdout, stderr } = await mcpAudit(...args);
    expect(stdout).toMatch(says);
    expect(stderr).toBe('');
    expect(code).toBe(2);
  });

  it('explains itself, exit 0', async () => {
    expect(await mcpAudit('--help')).toMatchObject({ code: 0, stdout: expect.stringContaining('Usage: mcp-audit verify') });
  });
});
