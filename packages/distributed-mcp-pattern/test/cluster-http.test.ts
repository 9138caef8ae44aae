import { META, type Principal } from '@mcp-blocks/core';
import { testContext, testPrincipal } from '@mcp-blocks/core/testing';
import { inputRequired, McpServer } from '@modelcontextprotocol/server';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { z } from 'zod';
import { DistributedMCPCluster, type DistributedMCPConfig } from '../src/index.js';
import { type HttpNode, startHttpNode } from './http-node.js';

const open: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close();
});

const noInput = z.object({});
let executions: string[] = [];

function gateOf() {
  let resolve: () => void = () => {};
  const promise = new Promise<void>((open) => (resolve = open));
  return { promise, resolve };
}

/** One of the servers behind the cluster. Hanging tools end when the test lets them. */
function server(id: string, gate?: Promise<void>) {
  return () => {
    const mcp = new McpServer({ name: 'orders', version: '1.0.0' });
    const text = (value: string) => ({ content: [{ type: 'text' as const, text: value }] });
    mcp.registerTool('look', { inputSchema: z.object({ n: z.number().optional() }), annotations: { readOnlyHint: true } }, async ({ n }) =>
      text(`${id} ${n ?? ''}`.trim()),
    );
    mcp.registerTool('pay', { inputSchema: noInput }, async () => {
      executions.push(id);
      await gate;
      return text(`paid at ${id}`);
    });
    mcp.registerTool('slow_look', { inputSchema: noInput, annotations: { idempotentHint: true } }, async (_args, ctx) => {
      // The first notification opens the response stream.
      await ctx.mcpReq.notify({
        method: 'notifications/progress',
        params: { progressToken: ctx.mcpReq._meta?.progressToken ?? 0, progress: 1 },
      });
      executions.push(id);
      if (id === 'a') await gate;
      return text(id);
    });
    mcp.registerTool('fail', { inputSchema: noInput }, async () => ({ isError: true, ...text('no such order') }));
    mcp.registerTool('ask', { inputSchema: noInput }, async (_args, ctx) =>
      ctx.mcpReq.inputResponses?.name
        ? text(JSON.stringify(ctx.mcpReq.inputResponses.name))
        : inputRequired({
            inputRequests: {
              name: inputRequired.elicit({
                message: 'Name?',
                requestedSchema: { type: 'object', properties: { name: { type: 'string' } } },
              }),
            },
          }),
    );
    mcp.registerTool('meta', { inputSchema: noInput }, async (_args, ctx) =>
      text(JSON.stringify({ meta: ctx.mcpReq._meta, envelope: ctx.mcpReq.envelope })),
    );
    mcp.registerTool(
      'regional',
      { inputSchema: z.object({ region: z.string().meta({ 'x-mcp-header': 'Region' }) }), annotations: { readOnlyHint: true } },
      async ({ region }) => text(region),
    );
    mcp.registerResource('readme', 'file:///readme', {}, async (uri) => ({ contents: [{ uri: uri.href, text: id }] }));
    return mcp;
  };
}

async function startNode(id: string, gate?: Promise<void>): Promise<HttpNode> {
  const node = await startHttpNode(server(id, gate));
  open.push(() => node.kill().catch(() => {}));
  return node;
}

async function startCluster(nodes: Record<string, HttpNode>, config: Partial<DistributedMCPConfig> = {}): Promise<DistributedMCPCluster> {
  executions = [];
  const cluster = new DistributedMCPCluster({
    clusterName: 'orders',
    discoveryMethod: 'static',
    discoveryConfig: { serviceName: 'orders', nodes: Object.entries(nodes).map(([id, { url }]) => ({ id, url })) },
    random: () => 0,
    ...config,
  });
  open.push(() => cluster.close());
  await cluster.start();
  return cluster;
}

const textOf = (result: unknown) => (result as { content: { text: string }[] }).content[0]?.text;
const call = (cluster: DistributedMCPCluster, name: string, args = {}, options = {}) =>
  cluster.route('tools/call', { name, arguments: args }, options);

describe('over real HTTP', () => {
  it('spreads calls over the nodes and passes results on as they are', async () => {
    const cluster = await startCluster({ a: await startNode('a'), b: await startNode('b') });
    const answers = await Promise.all(Array.from({ length: 6 }, () => call(cluster, 'look')));
    expect(answers.map(textOf).sort()).toEqual(['a', 'a', 'a', 'b', 'b', 'b']);
    expect(await call(cluster, 'fail')).toEqual({ isError: true, content: [{ type: 'text', text: 'no such order' }] });
    expect(cluster.getClusterMetrics()).toMatchObject({
      totalNodes: 2,
      healthyNodes: 2,
      totalRequests: 7,
      successfulRequests: 7,
      circuitBreakerTrips: 0,
    });
  });

  it('passes a JSON-RPC error on with its number, and holds it against no node', async () => {
    const cluster = await startCluster({ a: await startNode('a') }, { circuitBreakerConfig: { failureThreshold: 1 } });
    await expect(call(cluster, 'nonsense')).rejects.toMatchObject({ code: 'invalid_params', jsonRpcCode: -32602 });
    await expect(cluster.route('resources/read', { uri: 'file:///gone' })).rejects.toMatchObject({ jsonRpcCode: -32602 });
    expect(cluster.getCircuitBreakers().get('a')).toMatchObject({ state: 'closed', consecutiveFailures: 0 });
  });

  it('loses no idempotent call when a node is killed among many', async () => {
    const nodes = { a: await startNode('a'), b: await startNode('b'), c: await startNode('c') };
    const cluster = await startCluster(nodes);
    await cluster.route('tools/list');
    const calls: Promise<unknown>[] = [];
    for (let n = 0; n < 200; n += 1) {
      calls.push(n % 4 === 0 ? cluster.route('resources/read', { uri: 'file:///readme' }) : call(cluster, 'look', { n }));
      if (n === 60) void nodes.b.kill();
      if (n % 10 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    const outcomes = await Promise.allSettled(calls);
    expect(outcomes.filter(({ status }) => status === 'rejected')).toEqual([]);
    expect(cluster.getClusterMetrics().retries).toBeGreaterThan(0);
  });

  it('learns from the list of tools, asked for when needed, that a call may be repeated', async () => {
    const gate = gateOf();
    const nodes = { a: await startNode('a', gate.promise), b: await startNode('b') };
    const cluster = await startCluster(nodes);
    const answer = call(cluster, 'slow_look', {}, { preferredNode: 'a' });
    await vi.waitFor(() => expect(executions).toEqual(['a']));
    await nodes.a.kill();
    gate.resolve();
    expect(textOf(await answer)).toBe('b');
  });

  it('does not repeat a call that may have an effect, and says that its outcome is not known', async () => {
    const gate = gateOf();
    const nodes = { a: await startNode('a', gate.promise), b: await startNode('b', gate.promise) };
    const cluster = await startCluster(nodes);
    const answer = call(cluster, 'pay', {}, { preferredNode: 'a' });
    await vi.waitFor(() => expect(executions).toEqual(['a']));
    await nodes.a.kill();
    await expect(answer).rejects.toMatchObject({ code: 'ambiguous_outcome' });
    expect(executions).toEqual(['a']);
    gate.resolve();
  });

  it('sends a call with an effect to another node when the first one cannot be reached', async () => {
    const nodes = { a: await startNode('a'), b: await startNode('b') };
    const cluster = await startCluster(nodes);
    await call(cluster, 'look', {}, { preferredNode: 'a' });
    await nodes.a.kill();
    // Uses up the connections kept open, on which a request might still have been read.
    expect(textOf(await call(cluster, 'slow_look', {}, { preferredNode: 'a' }))).toBe('b');
    expect(textOf(await call(cluster, 'pay', {}, { preferredNode: 'a' }))).toBe('paid at b');
    expect(executions).toEqual(['b', 'b']);
  });

  it('moves a call on when a node answers 503, and gives the node up after the threshold', async () => {
    const nodes = { a: await startNode('a'), b: await startNode('b') };
    const cluster = await startCluster(nodes, { circuitBreakerConfig: { failureThreshold: 2 } });
    await call(cluster, 'look', {}, { preferredNode: 'a' });
    nodes.a.answerWith = { status: 503, body: '{"jsonrpc":"2.0","id":null,"error":{"code":503,"message":"draining"}}' };
    for (let i = 0; i < 3; i += 1) expect(textOf(await call(cluster, 'pay', {}, { preferredNode: 'a' }))).toBe('paid at b');
    expect(cluster.getCircuitBreakers().get('a')).toMatchObject({ state: 'open', trips: 1 });
    expect(nodes.a.requests.filter((request) => request === 'tools/call pay')).toHaveLength(2);
  });

  it('reads the JSON-RPC error of a node under another status than 200', async () => {
    const node = await startNode('a');
    const cluster = await startCluster({ a: node });
    await call(cluster, 'look');
    node.answerWith = {
      status: 429,
      body: '{"jsonrpc":"2.0","id":9,"error":{"code":429,"message":"Slow down","data":{"retryAfterMs":7}}}',
    };
    await expect(call(cluster, 'pay')).rejects.toMatchObject({ code: 'rate_limited', data: { retryAfterMs: 7 } });
    expect(cluster.getCircuitBreakers().get('a')?.state).toBe('closed');
  });

  it('says unavailable, with the time to come back, when no node is left', async () => {
    const node = await startNode('a');
    const cluster = await startCluster({ a: node });
    await node.kill();
    await expect(call(cluster, 'look')).rejects.toMatchObject({
      code: 'unavailable',
      data: { retryAfterMs: expect.any(Number) },
      headers: { 'retry-after': expect.any(String) },
    });
  });

  it('cancels the call at the node when the caller leaves', async () => {
    const gate = gateOf();
    const cluster = await startCluster({ a: await startNode('a', gate.promise) });
    const abort = new AbortController();
    const answer = call(cluster, 'pay', {}, { signal: abort.signal });
    await vi.waitFor(() => expect(executions).toEqual(['a']));
    abort.abort();
    await expect(answer).rejects.toMatchObject({ code: 'cancelled' });
    expect(cluster.getServiceNodes()[0]).toMatchObject({ inFlight: 0, failedRequests: 0 });
    gate.resolve();
  });

  it('passes progress, trace context and the identity of the client', async () => {
    const cluster = await startCluster({ a: await startNode('a') });
    const context = testContext({ clientInfo: { name: 'caller', version: '7' }, clientCapabilities: { elicitation: { form: {} } } });
    await cluster.handler(
      { method: 'tools/call', params: { name: 'slow_look', arguments: {}, _meta: { progressToken: 'mine' } } },
      context,
    );
    expect(context.notifications).toEqual([{ method: 'notifications/progress', params: { progress: 1, progressToken: 'mine' } }]);
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
    const seen = JSON.parse(
      textOf(await cluster.handler({ method: 'tools/call', params: { name: 'meta', arguments: {}, _meta: { traceparent } } }, context)) ??
        '',
    );
    expect(seen.meta).toMatchObject({ traceparent });
    expect(seen.envelope).toMatchObject({
      [META.clientInfo]: { name: 'caller' },
      [META.clientCapabilities]: { elicitation: { form: {} } },
    });
  });

  it('passes a multi-round-trip result and its answer through', async () => {
    const cluster = await startCluster({ a: await startNode('a') });
    const context = testContext({ clientCapabilities: { elicitation: { form: {} } } });
    const first = await cluster.handler({ method: 'tools/call', params: { name: 'ask', arguments: {} } }, context);
    expect(first).toMatchObject({ resultType: 'input_required', inputRequests: { name: { method: 'elicitation/create' } } });
    const inputResponses = { name: { action: 'accept', content: { name: 'Ada' } } };
    const params = { name: 'ask', arguments: {}, inputResponses, ...(first.requestState ? { requestState: first.requestState } : {}) };
    expect(textOf(await cluster.handler({ method: 'tools/call', params }, context))).toContain('Ada');
  });

  it('repeats arguments in headers where a tool wants that', async () => {
    const cluster = await startCluster({ a: await startNode('a') });
    expect(textOf(await call(cluster, 'regional', { region: 'eu' }))).toBe('eu');
    await cluster.route('tools/list');
    expect(textOf(await call(cluster, 'regional', { region: 'us' }))).toBe('us');
  });
});

describe('credentials', () => {
  const alice = testPrincipal({ id: 'alice' });
  const contextOf = (principal: Principal) => ({ context: testContext({ principal }) });

  it('are asked for per node and principal, and sent with every request of that principal', async () => {
    const node = await startNode('a');
    const asked: (string | undefined)[] = [];
    const cluster = await startCluster(
      { a: node },
      {
        credentials: async ({ id }, principal) => {
          asked.push(principal?.id);
          return { headers: { authorization: `Bearer ${id}-${principal?.id ?? 'cluster'}` } };
        },
      },
    );
    await call(cluster, 'look', {}, contextOf(alice));
    await call(cluster, 'look', {}, contextOf(alice));
    await call(cluster, 'look', {}, contextOf(testPrincipal({ id: 'bob' })));
    expect(asked).toEqual([undefined, 'alice', 'bob']);
    const used = node.requests.flatMap((request, index) => (request === 'tools/call look' ? [node.authorizations[index]] : []));
    expect(used).toEqual(['Bearer a-alice', 'Bearer a-alice', 'Bearer a-bob']);
  });

  it.each([
    ['the roles', { roles: ['admin'] }],
    ['the scopes', { scopes: ['write'] }],
    ['the attributes', { attributes: { department: 'x' } }],
  ])('are not shared when %s of the same principal differ', async (_what, change) => {
    let minted = 0;
    const cluster = await startCluster(
      { a: await startNode('a') },
      { healthCheckConfig: { enabled: false }, credentials: () => ({ headers: { authorization: `Bearer ${(minted += 1)}` } }) },
    );
    await call(cluster, 'look', {}, contextOf(alice));
    await call(cluster, 'look', {}, contextOf({ ...alice, ...change }));
    expect(minted).toBe(2);
  });

  it('are renewed once when the node has stopped accepting them', async () => {
    const node = await startNode('a');
    let minted = 0;
    const cluster = await startCluster(
      { a: node },
      { healthCheckConfig: { enabled: false }, credentials: () => ({ headers: { authorization: `Bearer ${(minted += 1)}` } }) },
    );
    await call(cluster, 'pay', {}, contextOf(alice));
    node.answerWith = { status: 401 };
    await expect(call(cluster, 'pay', {}, contextOf(alice))).rejects.toMatchObject({ code: 'upstream_error' });
    expect(minted).toBe(2);
    node.answerWith = undefined;
    expect(textOf(await call(cluster, 'pay', {}, contextOf(alice)))).toBe('paid at a');
    expect(cluster.getCircuitBreakers().get('a')?.consecutiveFailures).toBe(0);
  });

  it('that cannot be had fail the call and harm no node', async () => {
    const cluster = await startCluster(
      { a: await startNode('a') },
      {
        healthCheckConfig: { enabled: false },
        credentials: () => {
          throw new Error('the vault says secret-token-17 is sealed');
        },
      },
    );
    const failure = await call(cluster, 'look', {}, contextOf(alice)).catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: 'upstream_error', message: expect.not.stringContaining('secret') });
    expect(cluster.getServiceNodes()[0]).toMatchObject({ failedRequests: 0, inFlight: 0 });
  });
});
