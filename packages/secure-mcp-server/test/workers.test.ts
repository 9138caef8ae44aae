import { WebSocketClientTransport } from '@mcp-blocks/encrypted-websocket';
import { Client } from '@modelcontextprotocol/client';
import { describe, expect, it, onTestFinished } from 'vitest';
import { WorkerPool, type WorkerPoolOptions, type WorkerReport } from '../src/workers.js';
import { Caller, isAlive, PoolProgram, until } from './workers/pool-program.js';

interface Started {
  readonly endpoints: readonly [string, string];
  readonly statusUrl: string;
}

const LONG = { timeout: 300_000 };

/** A pool of two, and a caller at each of its workers. */
async function startPool() {
  const program = new PoolProgram();
  const { endpoints, statusUrl } = await program.act<Started>('start');
  // Connections go to the workers in turn.
  const callers = [new Caller(endpoints[0]), new Caller(endpoints[0])] as const;
  const pids = [await callers[0].call('who'), await callers[1].call('who')].map(Number) as [number, number];
  return { program, url: endpoints[0], webSocketUrl: endpoints[1], statusUrl, callers, pids };
}

const get = async (url: string) => {
  const response = await fetch(url);
  return { status: response.status, text: await response.text() };
};

const sumOf = (page: string, name: string) =>
  [...page.matchAll(new RegExp(`^${name}(?:\\{.*\\})? (\\d+)$`, 'gm'))].reduce((sum, [, value]) => sum + Number(value), 0);

describe('a server on several cores', LONG, () => {
  it('shares its port, its limits and its sessions, and sums what it counts', async () => {
    const { program, url, webSocketUrl, statusUrl, pids } = await startPool();
    expect(new Set(pids)).toEqual(new Set(program.serving()));
    expect(await get(`${statusUrl}/healthz`)).toEqual({ status: 200, text: '{"status":"ok"}' });
    expect(await get(`${statusUrl}/readyz`)).toEqual({ status: 200, text: '{"status":"ready","workers":2,"serving":2}' });
    expect((await get(`${statusUrl}/nothing`)).status).toBe(404);

    // Ten in an hour, over all workers: each connection is another worker's.
    const limited = await Promise.all(Array.from({ length: 30 }, () => new Caller(url).call('limited')));
    const passed = limited.filter((answer) => /^\d+$/.test(answer));
    expect(passed).toHaveLength(10);
    expect(new Set(limited.filter((answer) => !passed.includes(answer))).size).toBe(1);

    const initialize = {
      jsonrpc: '2.0',
      id: 1,
      method: 'initialize',
      params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'old', version: '1.0.0' } },
    };
    const session = (await new Caller(url).send(initialize, {})).headers['mcp-session-id'] as string;
    const inSession = { 'mcp-session-id': session, 'mcp-protocol-version': '2025-11-25' };
    expect((await new Caller(url).send({ jsonrpc: '2.0', method: 'notifications/initialized' }, inSession)).status).toBe(202);
    const call = (id: number) => ({ jsonrpc: '2.0', id, method: 'tools/call', params: { name: 'who', arguments: {} } });
    const answers = await Promise.all(Array.from({ length: 6 }, (_, index) => new Caller(url).send(call(2 + index), inSession)));
    expect(answers.map(({ status }) => status)).toEqual(Array(6).fill(200));
    expect(new Set(answers.map(({ body }) => /"text":"(\d+)"/.exec(body)?.[1])).size).toBe(2);

    const clients = [new Client({ name: 'ws', version: '1.0.0' }), new Client({ name: 'ws', version: '1.0.0' })];
    onTestFinished(async () => void (await Promise.all(clients.map((client) => client.close()))));
    const reached = new Set<unknown>();
    for (const client of clients) {
      await client.connect(new WebSocketClientTransport(webSocketUrl));
      reached.add((await client.callTool({ name: 'who', arguments: {} })).content?.[0]);
    }
    expect(reached.size).toBe(2);

    const { text: page } = await get(`${statusUrl}/metrics`);
    const calls = 2 + 30 + 6 + 2;
    expect(sumOf(page.replaceAll(/^.*method="(?!tools\/call).*$/gm, ''), 'mcp_server_requests_total')).toBe(calls);
    expect(sumOf(page, 'mcp_workers')).toBe(2);
    const report = await program.act<readonly WorkerReport[]>('report');
    expect(report.map(({ index, pid, state }) => ({ index, pid, state }))).toEqual([
      { index: 0, pid: expect.any(Number), state: 'serving' },
      { index: 1, pid: expect.any(Number), state: 'serving' },
    ]);
    expect(report.reduce((sum, { metrics }) => sum + (metrics?.totalRequests ?? 0), 0)).toBe(sumOf(page, 'mcp_server_requests_total'));
  });

  it('loses with a worker that is killed only its own calls, and replaces it', async () => {
    const { program, url, statusUrl, callers, pids } = await startPool();
    const before = sumOf((await get(`${statusUrl}/metrics`)).text, 'mcp_server_requests_total');
    const waiting = callers.map((caller) => caller.call('wait').catch((error: NodeJS.ErrnoException) => String(error.code)));
    await program.waits(pids);
    process.kill(pids[0], 'SIGKILL');
    expect(await waiting[0]).toBe('ECONNRESET');
    // Whoever comes now is served, by the other worker or by the one that takes the place.
    await until(() => expect(program.events).toContainEqual(expect.objectContaining({ event: 'exit', pid: pids[0], expected: false })));
    for (let turn = 0; turn < 20; turn += 1) expect(program.serving()).toContain(Number(await new Caller(url).call('who')));
    await until(() => expect(program.serving()).toHaveLength(2));
    expect(program.events).toContainEqual({ event: 'error', message: expect.stringContaining(`process ${pids[0]}) ended with SIGKILL`) });
    program.tell('go');
    expect(await waiting[1]).toBe(String(pids[1]));
    const { text: page } = await get(`${statusUrl}/metrics`);
    // What the lost worker had told is not forgotten: no sum falls.
    expect(sumOf(page, 'mcp_server_requests_total')).toBeGreaterThanOrEqual(before + 20);
    expect(sumOf(page, 'mcp_worker_exits_total')).toBe(1);
  });

  it('is reloaded worker by worker: calls in progress are answered, and a version that does not start changes nothing', async () => {
    const { program, url, statusUrl, callers, pids } = await startPool();
    program.tell('broken');
    await expect(program.act('reload')).rejects.toThrow('Worker 0 did not start: the new version is broken');
    program.untell('broken');
    expect(new Set(program.serving())).toEqual(new Set(pids));

    const waiting = callers.map((caller) => caller.call('wait'));
    await program.waits(pids);
    const reload = program.act('reload');
    await until(() => expect(program.serving()).toHaveLength(3));
    // The first drains, and the pool is ready all the time.
    expect((await get(`${statusUrl}/readyz`)).status).toBe(200);
    program.tell('go');
    await reload;
    expect(await Promise.all(waiting)).toEqual(pids.map(String));
    await until(() => expect(pids.some(isAlive)).toBe(false));
    expect(program.serving()).toHaveLength(2);
    const answered = new Set([await new Caller(url).call('who'), await new Caller(url).call('who')].map(Number));
    expect(answered).toEqual(new Set(program.serving()));
    // 2 before, 2 that waited, 2 after: workers that are gone count on.
    expect(sumOf((await get(`${statusUrl}/metrics`)).text, 'mcp_server_requests_total')).toBe(6);
  });

  it('drains when it is closed, and leaves nothing', async () => {
    const { program, url, statusUrl, callers, pids } = await startPool();
    const waiting = callers.map((caller) => caller.call('wait'));
    await program.waits(pids);
    const closed = program.act('close');
    await until(async () => {
      expect(await get(`${statusUrl}/readyz`)).toEqual({ status: 503, text: '{"status":"not ready","workers":2,"serving":0}' });
      await expect(new Caller(url).call('who')).rejects.toThrow('ECONNREFUSED');
    });
    program.tell('go');
    expect(await Promise.all(waiting)).toEqual(pids.map(String));
    await closed;
    expect(await program.exited()).toBe(0);
    expect(pids.some(isAlive)).toBe(false);
  });

  it('ends its workers when it is killed itself', async () => {
    const { program, pids } = await startPool();
    program.kill('SIGKILL');
    await program.exited();
    await until(() => expect(pids.some(isAlive)).toBe(false));
  });

  it.each([
    ['broken', 'Worker 0 did not start: the new version is broken'],
    ['nested', 'a worker cannot have workers'],
  ])('does not start with a module that is %s, and says why', async (what, reason) => {
    const program = new PoolProgram();
    program.tell(what);
    await expect(program.act('start')).rejects.toThrow(reason);
    await expect(program.act('reload')).rejects.toThrow('the pool is not running');
    await program.act('close');
    expect(await program.exited()).toBe(0);
    expect(program.serving()).toEqual([]);
  });
});

it.each<[string, Partial<WorkerPoolOptions>]>([
  ['module', { module: './server.js' }],
  ['count', { count: 0 }],
  ['count', { count: 1.5 }],
  ['startTimeoutMs', { startTimeoutMs: 0 }],
  ['drainTimeoutMs', { drainTimeoutMs: -1 }],
  ['restart.initialDelayMs', { restart: { initialDelayMs: 0 } }],
  ['restart.maxDelayMs', { restart: { initialDelayMs: 100, maxDelayMs: 99 } }],
  ['restart.stableAfterMs', { restart: { stableAfterMs: Number.NaN } }],
  ['status.port', { status: { port: 70_000 } }],
])('names a wrong %s', (option, options) => {
  expect(() => new WorkerPool({ module: 'file:///server.js', ...options })).toThrow(
    expect.objectContaining({ name: 'ConfigurationError', option }),
  );
});
