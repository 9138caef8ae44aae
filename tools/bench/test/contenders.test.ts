import { existsSync, readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { CONTENDERS } from '../src/contenders.ts';
import { STATIONS } from '../src/gateway/stations.ts';
import { PEERS } from '../src/peers.ts';
import { findPinning } from '../src/pinning.ts';

const manifest = (path: string) =>
  JSON.parse(readFileSync(new URL(path, import.meta.url), 'utf8')) as Record<string, Record<string, string>>;

it('the first is plain node:http, which everything is compared with', () => {
  expect(CONTENDERS[0]).toMatchObject({ id: 'limit', ways: ['modern'] });
});

it.each(Object.entries(PEERS))('%s is pinned exactly and has a server', (name, { version, packages }) => {
  expect(Object.values(packages)).toContain(version);
  for (const pin of Object.values(packages)) expect(pin).toMatch(/^\d+\.\d+\.\d+$/);
  expect(existsSync(new URL(`../peers/${name}.mjs`, import.meta.url))).toBe(true);
  expect([...CONTENDERS, ...STATIONS].some(({ id }) => id === name)).toBe(true);
});

it('ours and SDK v2 are measured on the same SDK v2, and SDK v1 is the one we test with', () => {
  const core = manifest('../../../packages/core/package.json')['devDependencies'];
  expect(manifest('../package.json')['dependencies']?.['@modelcontextprotocol/server']).toBe(core?.['@modelcontextprotocol/server']);
  expect(CONTENDERS.find(({ id }) => id === 'sdk-v2')?.title).toBe(`SDK v2 ${core?.['@modelcontextprotocol/server']}`);
  expect(PEERS['sdk-v1'].version).toBe(core?.['@modelcontextprotocol/sdk']);
});

it.each([
  ['a core each', () => true, ['taskset', '-c', '0'], ['taskset', '-c', '1'], 'server pinned to core 0, load generator to core 1'],
  ['one core', (_: string, args: readonly string[]) => args[1] === '0', ['taskset', '-c', '0'], [], 'no core of its own'],
  ['no taskset', () => false, [], [], 'not pinned'],
])('pinning with %s says what it does', (_, succeeds, server, generator, description) => {
  expect(findPinning(succeeds)).toMatchObject({ server, generator, description: expect.stringContaining(description) });
});
