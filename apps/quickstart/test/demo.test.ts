import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { Narrator } from '../src/demo/narrator.js';
import { start, startReady } from './running-demo.js';

it('the script holds in every step and ends with code 0', async () => {
  const { exit, output } = start({}, '--once', '--port', '0');
  const code = await exit;
  expect(output()).toContain('Every step held.');
  expect(output()).not.toContain('NOT HELD');
  expect(output()).toContain('from the bundled data set');
  expect(output()).toContain('60 of 60 calls answered, 0 failed');
  expect(code).toBe(0);
}, 60_000);

it('--json prints one line and stays up until it is told to end', async () => {
  const demo = await startReady();
  expect(demo.endpoints).toEqual({
    http: expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+\/mcp$/),
    ws: expect.stringMatching(/^ws:\/\/127\.0\.0\.1:\d+\/ws$/),
  });
  expect(Object.keys(demo.tokens)).toEqual(['viewer', 'analyst', 'admin']);
  const health = new URL('/healthz', demo.endpoints.http);
  expect((await fetch(health)).status).toBe(200);
  expect(await demo.stop()).toBe(0);
  await expect(fetch(health)).rejects.toThrow();
}, 60_000);

it.each([
  [['--port', 'eighty'], '--port: expected 0 to 65535'],
  [['--port', '70000'], '--port: expected 0 to 65535'],
  [['--unknown'], '--unknown'],
])('refuses %j and says what it expects', async (args, message) => {
  const { exit, output } = start({}, ...args);
  expect(await exit).toBe(1);
  expect(output()).toContain(message);
  expect(output()).not.toContain('    at ');
});

/** A folder of the test's own for the demo's temporary files, removed when the test ends. */
function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'quickstart-test-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

it('a port that is taken is said so, and ends the demo and all it had started', async () => {
  const blocker = createServer().listen(0, '127.0.0.1');
  onTestFinished(() => void blocker.close());
  await once(blocker, 'listening');
  const TMPDIR = temporaryFolder();
  const { exit, output } = start({ TMPDIR }, '--port', String((blocker.address() as AddressInfo).port));
  expect(await exit).toBe(1);
  expect(output()).toContain('The port is taken: choose another with --port N');
  expect(readdirSync(TMPDIR)).toEqual([]);
}, 60_000);

it('Ctrl-C while it starts ends it with code 130 and leaves no files', async () => {
  const TMPDIR = temporaryFolder();
  const { child, exit, output } = start({ TMPDIR }, '--once', '--port', '0');
  child.stdout?.once('data', () => child.kill('SIGINT'));
  expect(await exit).toBe(130);
  expect(output()).not.toContain('Every step held.');
  expect(readdirSync(TMPDIR)).toEqual([]);
}, 60_000);

it('counts a step that does not hold', () => {
  const lines: string[] = [];
  const narrator = new Narrator((line) => lines.push(line));
  narrator.check(true, 'good');
  narrator.check(false, 'bad');
  expect(narrator.failures).toBe(1);
  expect(lines[1]).toContain('NOT HELD');
});
