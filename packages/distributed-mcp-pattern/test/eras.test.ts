import { http, SecureMCPServer } from '@mcp-blocks/secure-mcp-server';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createGateway, DistributedMCPCluster, type GatewayOptions } from '../src/index.js';
import { legacyServer, modernServer, Waits } from './asking-servers.js';
import { startHttpNode } from './http-node.js';
import { startLegacyNode } from './legacy-node.js';

const open: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close();
});
let waits: Waits;
beforeEach(() => {
  waits = new Waits();
});

type Era = 'modern' | 'legacy';

async function startNode(era: Era) {
  const node = era === 'modern' ? await startHttpNode(() => modernServer(waits)) : await startLegacyNode(() => legacyServer(waits));
  open.push(() => node.kill());
  return node;
}

/** A real gateway over HTTP in front of one real node. */
async function startGateway(url: string, options: Partial<GatewayOptions> = {}): Promise<string> {
  const cluster = new DistributedMCPCluster({
    clusterName: 'eras',
    discoveryMethod: 'static',
    discoveryConfig: { serviceName: 'eras', endpoints: [url] },
    healthCheckConfig: { enabled: false },
  });
  await cluster.start();
  const gateway = createGateway({ info: { name: 'gateway', version: '1' }, services: { eras: cluster }, ...options });
  const listener = http({ port: 0 });
  const server = new SecureMCPServer({ service: gateway, allowAnonymous: true, listeners: [listener] });
  await server.start();
  open.push(
    () => cluster.close(),
    () => gateway.close(),
    () => server.stop(),
  );
  return listener.endpoint as string;
}

interface Caller {
  readonly client: Client;
  readonly logs: unknown[];
  readonly asked: string[];
}

async function connect(url: string, era: Era, { name = 'Ada', answers = true } = {}): Promise<Caller> {
  const capabilities = answers ? { elicitation: {}, sampling: {}, roots: {} } : {};
  const client = new Client(
    { name: 'caller', version: '1' },
    { capabilities, versionNegotiation: { mode: era === 'modern' ? 'auto' : 'legacy' } },
  );
  const logs: unknown[] = [];
  const asked: string[] = [];
  client.setNotificationHandler('notifications/message', ({ params }) => void logs.push(params.data));
  if (answers) {
    client.setRequestHandler('elicitation/create', async ({ params }) => {
      asked.push(params.message);
      return { action: 'accept', content: { name } };
    });
    client.setRequestHandler('sampling/createMessage', async () => ({
      model: 'm',
      role: 'assistant',
      content: { type: 'text', text: 'Paris' },
    }));
    client.setRequestHandler('roots/list', async () => ({ roots: [{ uri: 'file:///work' }] }));
  }
  await client.connect(new StreamableHTTPClientTransport(new URL(url)));
  expect(client.getProtocolEra()).toBe(era);
  open.push(() => client.close());
  return { client, logs, asked };
}

const textOf = (result: unknown) => (result as { content: { text: string }[] }).content[0]?.text;
const COMBINATIONS = (['modern', 'legacy'] as const).flatMap((caller) => (['modern', 'legacy'] as const).map((node) => ({ caller, node })));

describe.each(COMBINATIONS)('a $caller client of a $node server', ({ caller, node }) => {
  it('is asked in the middle of a call', async () => {
    const { client, asked } = await connect(await startGateway((await startNode(node)).url), caller);
    expect(textOf(await client.callTool({ name: 'ask' }))).toBe('Hello, Ada');
    expect(asked).toEqual(['Who?']);
  });

  it('is told of progress', async () => {
    const { client } = await connect(await startGateway((await startNode(node)).url), caller);
    const seen: unknown[] = [];
    await client.callTool({ name: 'work' }, { onprogress: ({ progress, total }) => void seen.push([progress, total]) });
    expect(seen).toEqual([[1, 2]]);
  });

  it('gets the log messages of its own calls, at the level it asked for', async () => {
    const url = await startGateway((await startNode(node)).url);
    const [loud, terse] = [await connect(url, caller), await connect(url, caller)];
    const level = async ({ client }: Caller, value: 'debug' | 'warning') => {
      if (caller === 'modern') return { _meta: { 'io.modelcontextprotocol/logLevel': value } };
      await client.setLoggingLevel(value);
      return {};
    };
    const [loudly, tersely] = [await level(loud, 'debug'), await level(terse, 'warning')];
    await Promise.all([
      loud.client.callTool({ name: 'log', arguments: { word: 'one' }, ...loudly }),
      terse.client.callTool({ name: 'log', arguments: { word: 'two' }, ...tersely }),
    ]);
    await vi.waitFor(() => expect([loud.logs, terse.logs]).toEqual([['one in detail', 'one'], ['two']]));
  });

  it('ends the call at the server when it cancels', async () => {
    const { client } = await connect(await startGateway((await startNode(node)).url), caller);
    const abort = new AbortController();
    const call = client.callTool({ name: 'wait' }, { signal: abort.signal });
    await vi.waitFor(() => expect(waits.begun).toBe(1));
    abort.abort();
    await expect(call).rejects.toThrow();
    await vi.waitFor(() => expect(waits.cancelled).toBe(1));
  });

  it('is not asked when it cannot be', async () => {
    const { client, asked } = await connect(await startGateway((await startNode(node)).url), caller, { answers: false });
    const outcome = await client.callTool({ name: 'ask' }).catch((error: Error) => ({ isError: true, message: error.message }));
    expect(outcome).toMatchObject({ isError: true });
    expect(asked).toEqual([]);
  });
});

describe.each(['modern', 'legacy'] as const)('a %s client of a legacy server', (era) => {
  it('is asked again and again, for a completion and for its roots', async () => {
    const { client } = await connect(await startGateway((await startNode('legacy')).url), era);
    expect(textOf(await client.callTool({ name: 'ask-twice' }))).toBe('Paris, file:///work');
  });

  it('is asked also by a server that asks beside the call', async () => {
    const { client } = await connect(await startGateway((await startNode('legacy')).url), era);
    expect(textOf(await client.callTool({ name: 'ask-aside' }))).toBe('Hello, Ada');
  });

  it.each(['ask', 'ask-aside'])('is asked what its own calls need, also while others are asked: %s', async (tool) => {
    const url = await startGateway((await startNode('legacy')).url);
    const callers = await Promise.all(['Ada', 'Bob', 'Eve'].map((name) => connect(url, era, { name })));
    const answers = await Promise.all(callers.flatMap(({ client }) => [client.callTool({ name: tool }), client.callTool({ name: tool })]));
    expect(answers.map(textOf)).toEqual(['Ada', 'Ada', 'Bob', 'Bob', 'Eve', 'Eve'].map((name) => `Hello, ${name}`));
  });

  it('is described to the server as it is', async () => {
    const url = await startGateway((await startNode('legacy')).url);
    const able = await connect(url, era);
    const unable = await connect(url, era, { answers: false });
    expect(
      textOf(await able.client.callTool({ name: 'capabilities' }))
        ?.split(',')
        .sort(),
    ).toEqual(['elicitation', 'roots', 'sampling']);
    expect(textOf(await unable.client.callTool({ name: 'capabilities' }))).toBe('');
  });
});
