import { fileURLToPath } from 'node:url';
import type { RpcContext, RpcResult } from '@mcp-blocks/core';
import { ManualClock, testContext } from '@mcp-blocks/core/testing';
import { encryptedWebSocket, generateNoiseKeys, noisePublicKey } from '@mcp-blocks/encrypted-websocket';
import { SecureMCPServer } from '@mcp-blocks/secure-mcp-server';
import { McpServer as McpServerV1 } from '@modelcontextprotocol/sdk/server/mcp.js';
import { McpServer } from '@modelcontextprotocol/server';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { z } from 'zod';
import { createGateway, DistributedMCPCluster, type StdioServiceOptions, sdkConnector, stdioService } from '../src/index.js';
import { startHttpNode } from './http-node.js';
import { startLegacyNode } from './legacy-node.js';

const open: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close();
});

const textOf = (result: RpcResult) => (result as { content: { text: string }[] }).content[0]?.text;

async function startCluster(url: string, connect = sdkConnector()): Promise<DistributedMCPCluster> {
  const cluster = new DistributedMCPCluster({
    clusterName: 'kinds',
    discoveryMethod: 'static',
    discoveryConfig: { serviceName: 'kinds', endpoints: [url] },
    healthCheckConfig: { enabled: false },
    connect,
  });
  open.push(() => cluster.close());
  await cluster.start();
  return cluster;
}

describe('an answer over HTTP', () => {
  const answer = (size: number) => ({ content: [{ type: 'text' as const, text: 'x'.repeat(size) }] });
  const modern = () => {
    const server = new McpServer({ name: 'large', version: '1' });
    server.registerTool('large', { inputSchema: z.object({ size: z.number() }) }, async ({ size }) => answer(size));
    server.registerTool(
      'stream',
      { inputSchema: z.object({ size: z.number(), events: z.number() }) },
      async ({ size, events }, { mcpReq }) => {
        const progressToken = mcpReq._meta?.progressToken as string;
        for (let progress = 1; progress <= events; progress += 1) {
          await mcpReq.notify({ method: 'notifications/progress', params: { progressToken, progress, message: 'y'.repeat(500) } });
        }
        return answer(size);
      },
    );
    return server;
  };
  const legacy = () => {
    const server = new McpServerV1({ name: 'large', version: '1' });
    server.registerTool('large', { inputSchema: { size: z.number() } }, async ({ size }) => answer(size));
    return server;
  };

  it.each([
    ['modern', 'large'],
    ['modern', 'stream'],
    ['legacy', 'large'],
  ] as const)('of a %s server may have so many bytes and no more: %s', async (era, name) => {
    const node = era === 'modern' ? await startHttpNode(modern) : await startLegacyNode(legacy);
    open.push(() => node.kill());
    const cluster = await startCluster(node.url, sdkConnector({ maxResponseBytes: 10_000 }));
    const context = testContext();
    const call = (size: number) =>
      cluster.route('tools/call', { name, arguments: { size, events: 100 }, _meta: { progressToken: 'p' } }, { context });
    expect(textOf(await call(9_000))).toHaveLength(9_000);
    await expect(call(10_001)).rejects.toMatchObject({ code: 'upstream_error', message: "The node's answer has more than 10000 bytes" });
    expect(textOf(await call(9_000)), 'and the node can be asked again').toHaveLength(9_000);
  });

  it.each([0, 1.5, Number.NaN])('has a bound that is checked: %d', (maxResponseBytes) => {
    expect(() => sdkConnector({ maxResponseBytes })).toThrow('maxResponseBytes: expected a whole number from 1');
  });
});

describe('a WebSocket node inside a Noise channel', () => {
  it('is reached with its public key, and with no other', async () => {
    const keys = generateNoiseKeys();
    const listener = encryptedWebSocket({
      port: 0,
      noise: { protocols: ['Noise_NK_25519_ChaChaPoly_SHA256'], privateKey: keys.privateKey, required: true },
    });
    const server = new SecureMCPServer({
      service: {
        info: { name: 'noisy', version: '1', capabilities: { tools: {} } },
        handler: async ({ method }) => (method === 'tools/list' ? { tools: [{ name: 'x', inputSchema: { type: 'object' } }] } : {}),
      },
      allowAnonymous: true,
      listeners: [listener],
    });
    await server.start();
    open.push(() => server.stop());
    const cluster = (serverPublicKey: string) =>
      startCluster(
        listener.endpoint as string,
        sdkConnector({ webSocket: { noise: { protocol: 'Noise_NK_25519_ChaChaPoly_SHA256', serverPublicKey } } }),
      );
    expect(await (await cluster(noisePublicKey(keys.privateKey))).route('tools/list')).toMatchObject({ tools: [{ name: 'x' }] });
    await expect((await cluster(generateNoiseKeys().publicKey)).route('tools/list')).rejects.toMatchObject({ code: 'upstream_error' });
  });
});

describe.each([
  ['SDK v1', new URL('./fixtures/stdio-v1.mjs', import.meta.url)],
  ['SDK v2', new URL('./fixtures/stdio-v2.mjs', import.meta.url)],
])('a stdio server (%s) behind a gateway', (_sdk, url) => {
  const script = fileURLToPath(url);
  async function start(options: Partial<StdioServiceOptions> = {}) {
    const service = stdioService({ name: 'files', command: process.execPath, args: [script], stderr: 'ignore', ...options });
    const gateway = createGateway({ info: { name: 'gateway', version: '1' }, services: { files: service } });
    open.push(
      () => service.close(),
      () => gateway.close(),
    );
    await service.start();
    const call = async (name: string, context: Partial<RpcContext> = {}, params = {}) =>
      gateway.handler({ method: 'tools/call', params: { name, ...params } }, testContext(context));
    return { service, gateway, call, pid: async () => Number(textOf(await call('pid'))) };
  }
  const isAlive = (pid: number) => {
    try {
      return process.kill(pid, 0);
    } catch {
      return false;
    }
  };

  it('has one process for all callers, which ends with the service', async () => {
    const { service, pid } = await start();
    const pids = await Promise.all([pid(), pid(), pid()]);
    expect(new Set(pids).size).toBe(1);
    expect(isAlive(pids[0] as number)).toBe(true);
    await service.close();
    await vi.waitFor(() => expect(isAlive(pids[0] as number)).toBe(false));
  });

  it('is started again after it has ended, at first after a pause', async () => {
    const clock = new ManualClock();
    const { call, pid } = await start({ clock });
    const first = await pid();
    await expect(call('crash')).rejects.toMatchObject({ code: 'ambiguous_outcome' });
    await expect(call('pid')).rejects.toMatchObject({ code: 'unavailable' });
    await clock.advance(250);
    expect(await pid()).not.toBe(first);
  });

  it('gets the variables it is given, and not those of the gateway', async () => {
    vi.stubEnv('SECRET_OF_THE_GATEWAY', 'secret');
    const { call } = await start({ env: { GREETING: 'hello' } });
    expect(textOf(await call('env'))).toBe('hello undefined');
    vi.unstubAllEnvs();
  });

  it('can ask its callers, each of them its own', async () => {
    const { call } = await start();
    const names = ['Ada', 'Bob', 'Eve'];
    const clientCapabilities = { elicitation: {} };
    const answers = await Promise.all(
      names.map(async (name) => {
        const content = { name };
        const asked = await call('ask', { clientCapabilities });
        const [key] = Object.keys(asked.inputRequests as object);
        const retry = {
          ...(asked.requestState === undefined ? {} : { requestState: asked.requestState }),
          inputResponses: { [key as string]: { action: 'accept', content } },
        };
        return call('ask', { clientCapabilities }, retry);
      }),
    );
    expect(answers.map(textOf)).toEqual(names.map((name) => `Hello, ${name}`));
  });
});

it('a stdio server that does not start is tried ever more seldom', async () => {
  const clock = new ManualClock();
  const service = stdioService({ name: 'broken', command: process.execPath, args: ['-e', 'process.exit(3)'], stderr: 'ignore', clock });
  open.push(() => service.close());
  await service.start();
  const reason = async () => {
    const error = (await service.route('tools/list').catch((caught: unknown) => caught)) as { code: string; auditReason: string };
    expect(error.code).toBe('unavailable');
    return error.auditReason;
  };
  for (const pauseMs of [250, 500, 1_000]) {
    expect(await reason()).toContain('could not be reached');
    expect(await reason()).toBe(`The process is started again in ${pauseMs} ms`);
    await clock.advance(pauseMs);
  }
});

it.each<[string, Partial<StdioServiceOptions>]>([
  ['command', { command: '' }],
  ['stderr', { stderr: 'pipe' as never }],
  ['maxMessageBytes', { maxMessageBytes: 0 }],
  ['bulkheadConfig.maxConcurrent', { maxConcurrent: 0 }],
])('stdioService checks %s', (option, wrong) => {
  expect(() => stdioService({ name: 's', command: 'x', ...wrong })).toThrow(new RegExp(`^${option}: `));
});
