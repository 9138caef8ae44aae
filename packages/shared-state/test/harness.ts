import { type ChildProcess, fork } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { StateStore } from '@mcp-blocks/core';
import { expect, onTestFinished } from 'vitest';

export function temporaryFile(name = 'state.sqlite'): string {
  const folder = mkdtempSync(join(tmpdir(), 'mcp-blocks-state-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return join(folder, name);
}

export function redisUrl(): string {
  const url = process.env.MCP_BLOCKS_REDIS_URL;
  if (!url) throw new Error('MCP_BLOCKS_REDIS_URL is not set: run the tests through `npm test`, which starts a Redis server for them');
  return url;
}

/** A prefix no other test uses, so that all can share one server. */
export function uniquePrefix(): string {
  return `test-${randomUUID()}:`;
}

/** Two processes count and contend for a lock at the same time; `store` is a third client. */
export async function contend(store: StateStore, provider: string, endpoint: string, keyPrefix: string): Promise<void> {
  const rounds = 100;
  const program = fileURLToPath(new URL('fixtures/contender.ts', import.meta.url));
  const execArgv = ['--conditions=@mcp-blocks/source', '--disable-warning=ExperimentalWarning', '--import', hook];
  const children = [1, 2].map(() => fork(program, [provider, endpoint, keyPrefix, String(rounds)], { execArgv }));
  onTestFinished(() => {
    for (const child of children) child.kill('SIGKILL');
  });
  await Promise.all(children.map((child) => message(child, 'ready')));
  const done = Promise.all(children.map((child) => message(child, 'done')));
  await store.publish('start', null);
  const held = (await done).flat() as { fencingToken: number; before: number }[];
  expect(await store.get('count')).toBe(2 * rounds);
  expect(await store.get('steps')).toBe(held.length);
  held.sort((a, b) => a.fencingToken - b.fencingToken);
  expect(held.map(({ before }) => before)).toEqual(held.map((_, index) => index));
}

/** What went wrong when three processes opened the same `count` new files at the same time. */
export async function openTogether(folder: string, count: number): Promise<unknown[]> {
  const program = fileURLToPath(new URL('fixtures/opener.ts', import.meta.url));
  const execArgv = ['--conditions=@mcp-blocks/source', '--disable-warning=ExperimentalWarning', '--import', hook];
  const children = [1, 2, 3].map(() => fork(program, [folder, String(count)], { execArgv }));
  onTestFinished(() => {
    for (const child of children) child.kill('SIGKILL');
  });
  await Promise.all(children.map((child) => message(child, 'ready')));
  const done = Promise.all(children.map((child) => message(child, 'done')));
  for (const child of children) child.send('go');
  return (await done).flat();
}

export const hook = new URL('fixtures/source.mjs', import.meta.url).href;

function message(child: ChildProcess, name: string): Promise<unknown> {
  return new Promise((resolve, reject) => {
    child.on('message', (sent: Record<string, unknown>) => {
      if (name in sent) resolve(sent[name]);
    });
    child.once('exit', (code) => reject(new Error(`the child ended with code ${code} before it sent '${name}'`)));
  });
}
