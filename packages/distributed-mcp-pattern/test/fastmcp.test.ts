import { spawn } from 'node:child_process';
import { createServer } from 'node:net';
import { fileURLToPath } from 'node:url';
import { serveChannel } from '@mcp-blocks/core/sdk';
import { testPrincipal } from '@mcp-blocks/core/testing';
import { Client } from '@modelcontextprotocol/client';
import { InMemoryTransport } from '@modelcontextprotocol/server';
import { expect, it, onTestFinished } from 'vitest';
import { createGateway, DistributedMCPCluster } from '../src/index.js';

const SERVER = fileURLToPath(new URL('./fixtures/fastmcp-server.mjs', import.meta.url));

async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve) => probe.listen(0, '127.0.0.1', resolve));
  const { port } = probe.address() as { port: number };
  await new Promise((resolve) => probe.close(resolve));
  return port;
}

/** Starts fastmcp. A port that is free a moment before may be taken then: another one is tried. */
async function startFastMcp(kind: 'sessions' | 'stateless'): Promise<string> {
  for (let attempt = 0; attempt < 5; attempt += 1) {
    const port = await freePort();
    const child = spawn(process.execPath, [SERVER, String(port), kind], { stdio: ['ignore', 'pipe', 'ignore'] });
    const ended = new Promise<false>((resolve) => child.once('close', () => resolve(false)));
    onTestFinished(async () => {
      child.kill('SIGKILL');
      await ended;
    });
    const ready = new Promise<true>((resolve) => child.stdout.on('data', (chunk) => String(chunk).includes('ready') && resolve(true)));
    if (await Promise.race([ready, ended])) return `http://127.0.0.1:${port}/mcp`;
  }
  throw new Error('fastmcp does not start');
}

it.each([
  ['with sessions', 'sessions', 'auto'],
  ['with sessions', 'sessions', 'legacy'],
  ['without sessions', 'stateless', 'auto'],
] as const)(
  'a server of fastmcp %s (%s) is a service like any other, to a client of the SDK (%s)',
  { timeout: 120_000 },
  async (_what, kind, mode) => {
    const cluster = new DistributedMCPCluster({
      clusterName: 'fast',
      discoveryMethod: 'static',
      discoveryConfig: { serviceName: 'fast', endpoints: [await startFastMcp(kind)] },
      healthCheckConfig: { interval: 60_000, timeout: 60_000 },
    });
    onTestFinished(() => cluster.close());
    await cluster.start();
    expect(cluster.getServiceNodes()).toMatchObject([{ health: 'healthy' }]);
    const gateway = createGateway({ info: { name: 'gateway', version: '1' }, services: { fast: cluster }, listTimeoutMs: 60_000 });
    onTestFinished(() => gateway.close());
    const [clientEnd, serverEnd] = InMemoryTransport.createLinkedPair();
    serveChannel(gateway, serverEnd, { principal: testPrincipal(), transport: 'memory' });
    const client = new Client({ name: 'test', version: '1' }, { versionNegotiation: { mode } });
    await client.connect(clientEnd);
    onTestFinished(() => client.close());

    expect((await client.listTools()).tools.map(({ name }) => name)).toEqual(['shout', 'steps', 'fail']);
    expect((await client.callTool({ name: 'shout', arguments: { text: 'ahoy' } })).content).toEqual([{ type: 'text', text: 'AHOY' }]);
    const progress: number[] = [];
    const onprogress = (told: { progress: number }) => progress.push(told.progress);
    expect((await client.callTool({ name: 'steps' }, { onprogress })).content).toEqual([{ type: 'text', text: 'done' }]);
    expect(progress).toEqual([1, 2]);
    expect(await client.callTool({ name: 'fail' })).toMatchObject({ isError: true });
    expect((await client.readResource({ uri: 'fast://one' })).contents).toMatchObject([{ text: 'the one' }]);
    expect((await client.getPrompt({ name: 'greet', arguments: { who: 'Ada' } })).messages).toMatchObject([
      { content: { text: 'Greet Ada' } },
    ]);
    expect(cluster.getClusterMetrics()).toMatchObject({ failedRequests: 0, circuitBreakerTrips: 0 });
  },
);
