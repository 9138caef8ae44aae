import { spawn } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { expect, it, onTestFinished, vi } from 'vitest';

const SECRET = 'a secret of at least 32 characters, for tests';
const PATIENCE = { timeout: 120_000, interval: 50 };

it.each(['main', 'server'])('src/%s.ts is what the README of the server shows', (name) => {
  const read = (path: string) => readFileSync(new URL(path, import.meta.url), 'utf8');
  expect(read('../../../packages/secure-mcp-server/README.md')).toContain(read(`../src/${name}.ts`).split('\nfunction countPrimes')[0]);
});

it('serves on every core behind one port, outlives a worker and says how it is', { timeout: 300_000 }, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'mcp-blocks-cores-'));
  const program = spawn(process.execPath, [fileURLToPath(new URL('../dist/main.js', import.meta.url))], {
    env: { ...process.env, PORT: '0', STATUS_PORT: '0', JWT_SECRET: SECRET, SESSIONS_FILE: join(folder, 'sessions.sqlite') },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exit = once(program, 'exit');
  onTestFinished(async () => {
    program.kill('SIGKILL');
    await exit;
    rmSync(folder, { recursive: true, force: true, maxRetries: 10 });
  });
  const [line] = (await once(createInterface({ input: program.stdout }), 'line')) as [string];
  const { endpoints, status } = JSON.parse(line) as { endpoints: [string]; status: string };
  const get = async (path: string) => (await fetch(`${status}${path}`)).text();

  const pidOf = async () => {
    const client = new Client({ name: 'test', version: '1.0.0' });
    const requestInit = { headers: { authorization: `Bearer ${tokenOf('ada')}`, connection: 'close' } };
    await client.connect(new StreamableHTTPClientTransport(new URL(endpoints[0]), { requestInit }));
    const [content] = (await client.callTool({ name: 'count_primes', arguments: { below: 100 } })).content;
    await client.close();
    return Number(/^25 \(process (\d+)\)$/.exec(content?.type === 'text' ? content.text : '')?.[1]);
  };
  const pid = await pidOf();
  expect(pid).not.toBe(program.pid);
  process.kill(pid, 'SIGKILL');
  await vi.waitFor(async () => expect(await get('/metrics')).toContain('mcp_worker_exits_total 1'), PATIENCE);
  expect(await pidOf()).not.toBe(pid);
  const { workers } = JSON.parse(await get('/readyz')) as { workers: number };
  await vi.waitFor(async () => expect(JSON.parse(await get('/readyz'))).toEqual({ status: 'ready', workers, serving: workers }), PATIENCE);

  program.kill('SIGTERM');
  expect(await exit).toEqual([0, null]);
});

function tokenOf(sub: string): string {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const claims = { sub, roles: ['member'], iss: 'https://login.example', aud: 'primes', exp: Math.floor(Date.now() / 1000) + 600 };
  const signed = `${part({ alg: 'HS256', typ: 'JWT' })}.${part(claims)}`;
  return `${signed}.${createHmac('sha256', SECRET).update(signed).digest('base64url')}`;
}
