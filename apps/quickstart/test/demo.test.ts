import { expect, it } from 'vitest';
import { Narrator } from '../src/demo/narrator.js';
import { start, startReady } from './running-demo.js';

it('the script holds in every step and ends with code 0', async () => {
  const { exit, output } = start('--once', '--port', '0');
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
  const { exit, output } = start(...args);
  expect(await exit).toBe(1);
  expect(output()).toContain(message);
  expect(output()).not.toContain('    at ');
});

it('counts a step that does not hold', () => {
  const lines: string[] = [];
  const narrator = new Narrator((line) => lines.push(line));
  narrator.check(true, 'good');
  narrator.check(false, 'bad');
  expect(narrator.failures).toBe(1);
  expect(lines[1]).toContain('NOT HELD');
});
