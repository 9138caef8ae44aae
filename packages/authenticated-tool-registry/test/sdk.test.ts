import { type JsonObject, META, type Principal } from '@mcp-blocks/core';
import { serveChannel, toAuthInfo, toSdkFactory } from '@mcp-blocks/core/sdk';
import { settle, testPrincipal } from '@mcp-blocks/core/testing';
import { Client, type ClientOptions } from '@modelcontextprotocol/client';
import { createMcpHandler, InMemoryTransport, inputRequired } from '@modelcontextprotocol/server';
import { afterEach, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { AuthenticatedToolRegistry } from '../src/index.js';

const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

function ordersRegistry() {
  const registry = new AuthenticatedToolRegistry({ name: 'orders', version: '1.0.0', capabilities: ['logging'] });
  const agents = { roles: ['agent'] };
  registry.tool(
    'lookup',
    { input: z.object({ id: z.string() }), output: z.object({ id: z.string(), by: z.string() }), access: agents },
    ({ id }, { principal }) => ({ structuredContent: { id, by: principal.id } }),
  );
  registry.tool('refund', { access: { roles: ['admin'] } }, () => 'refunded');
  registry.tool('export', { access: { roles: ['agent'], scopes: ['orders:export'] } }, () => 'exported');
  registry.tool('crash', { access: agents }, () => Promise.reject(new Error('secret detail')));
  registry.tool('work', { access: agents }, async (_args, { progress, log }) => {
    await progress(1, 2);
    await log('warning', 'slow');
    return 'done';
  });
  registry.tool('greet', { access: agents }, (_args, { inputResponses }) => {
    const answer = inputResponses?.who as { content?: { name?: string } } | undefined;
    if (answer?.content?.name !== undefined) return `Hello ${answer.content.name}`;
    const requestedSchema = { type: 'object' as const, properties: { name: { type: 'string' as const } } };
    return inputRequired({ inputRequests: { who: inputRequired.elicit({ message: 'Who?', requestedSchema }) } });
  });
  registry.resource('memory://stock', { name: 'stock', mimeType: 'text/plain', access: agents }, () => '12 left');
  registry.resource('memory://margin', { name: 'margin', access: { roles: ['admin'] } }, () => 'secret');
  registry.resourceTemplate(
    'db://orders/{id}',
    { name: 'order', access: agents, complete: { id: (value) => [`${value}7`] } },
    ({ id }) => `order ${id}`,
  );
  registry.prompt('summarise', { arguments: z.object({ text: z.string() }), access: agents }, ({ text }) => `Summarise: ${text}`);
  return registry;
}

async function connect(registry: AuthenticatedToolRegistry, mode: 'auto' | 'legacy', principal: Principal, options: ClientOptions = {}) {
  const [clientEnd, serverEnd] = InMemoryTransport.createLinkedPair();
  const served = serveChannel(registry, serverEnd, { principal, transport: 'memory' });
  const client = new Client(
    { name: 'test', version: '1' },
    { versionNegotiation: { mode }, capabilities: { elicitation: { form: {} } }, ...options },
  );
  client.setRequestHandler('elicitation/create', async () => ({ action: 'accept', content: { name: 'Ada' } }));
  await client.connect(clientEnd);
  closing.push(async () => {
    await client.close();
    await served.close();
  });
  return client;
}

const agent = testPrincipal({ roles: ['agent'] });

describe.each(['auto', 'legacy'] as const)('an SDK client in mode %s', (mode) => {
  it('sees what its user may use, and nothing else', async () => {
    const registry = ordersRegistry();
    const names = async (principal: Principal) =>
      (await (await connect(registry, mode, principal)).listTools()).tools.map((tool) => tool.name);
    expect(await names(agent)).toEqual(['crash', 'greet', 'lookup', 'work']);
    expect(await names(testPrincipal({ roles: ['admin'] }))).toEqual(['refund']);
    expect(await names(testPrincipal())).toEqual([]);
  });

  it('sees the version of what is replaced', async () => {
    const registry = ordersRegistry();
    const client = await connect(registry, mode, agent);
    const access = { roles: ['agent'] };
    const versions = async () => {
      const [tool] = (await client.listTools()).tools.filter(({ name }) => name === 'versioned');
      const [resource] = (await client.listResources()).resources.filter(({ name }) => name === 'versioned');
      const [template] = (await client.listResourceTemplates()).resourceTemplates.filter(({ name }) => name === 'versioned');
      const [prompt] = (await client.listPrompts()).prompts.filter(({ name }) => name === 'versioned');
      return [tool, resource, template, prompt].map((entry) => entry?._meta?.[META.version]);
    };
    for (const version of ['1.0.0', '2.0.0']) {
      registry.tool('versioned', { version, access }, () => version, { replace: true });
      registry.resource('memory://v', { name: 'versioned', version, access }, () => version, { replace: true });
      registry.resourceTemplate('memory://v/{id}', { name: 'versioned', version, access }, () => version, { replace: true });
      registry.prompt('versioned', { version, access }, () => version, { replace: true });
      expect(await versions()).toEqual([version, version, version, version]);
    }
    expect(await client.callTool({ name: 'versioned' })).toMatchObject({ content: [{ text: '2.0.0' }] });
  });

  it('calls tools and gets structured content that its own check accepts', async () => {
    const client = await connect(ordersRegistry(), mode, agent);
    await client.listTools();
    expect(await client.callTool({ name: 'lookup', arguments: { id: '7' } })).toMatchObject({
      content: [{ type: 'text', text: '{"id":"7","by":"alice"}' }],
      structuredContent: { id: '7', by: 'alice' },
    });
  });

  it('gets each refusal as the spec has it', async () => {
    const client = await connect(ordersRegistry(), mode, agent);
    const invalid = await client.callTool({ name: 'lookup', arguments: { id: 7 } });
    expect(invalid).toMatchObject({ isError: true, content: [{ text: expect.stringContaining('arguments.id: ') }] });
    const crashed = await client.callTool({ name: 'crash' });
    expect(crashed).toMatchObject({ isError: true, content: [{ text: "Tool 'crash' failed" }] });
    for (const name of ['refund', 'absent']) {
      await expect(client.callTool({ name })).rejects.toMatchObject({
        code: -32602,
        message: expect.stringContaining(`Unknown tool: ${name}`),
      });
    }
    await expect(client.callTool({ name: 'export' })).rejects.toMatchObject({
      code: 403,
      data: { reason: 'insufficient_scope', requiredScopes: ['orders:export'] },
    });
    for (const uri of ['memory://margin', 'memory://absent']) {
      await expect(client.readResource({ uri })).rejects.toMatchObject({ code: -32602, data: { uri } });
    }
  });

  it('reads resources, gets prompts and completions', async () => {
    const client = await connect(ordersRegistry(), mode, agent);
    expect((await client.listResources()).resources).toEqual([{ uri: 'memory://stock', name: 'stock', mimeType: 'text/plain' }]);
    expect((await client.listResourceTemplates()).resourceTemplates).toEqual([{ uriTemplate: 'db://orders/{id}', name: 'order' }]);
    expect((await client.readResource({ uri: 'memory://stock' })).contents).toEqual([
      { uri: 'memory://stock', mimeType: 'text/plain', text: '12 left' },
    ]);
    expect((await client.readResource({ uri: 'db://orders/7' })).contents).toEqual([{ uri: 'db://orders/7', text: 'order 7' }]);
    expect((await client.listPrompts()).prompts).toEqual([{ name: 'summarise', arguments: [{ name: 'text', required: true }] }]);
    expect((await client.getPrompt({ name: 'summarise', arguments: { text: 'a' } })).messages).toEqual([
      { role: 'user', content: { type: 'text', text: 'Summarise: a' } },
    ]);
    const ref = { type: 'ref/resource', uri: 'db://orders/{id}' } as const;
    expect((await client.complete({ ref, argument: { name: 'id', value: '1' } })).completion.values).toEqual(['17']);
  });

  it('answers a request for input', async () => {
    const client = await connect(ordersRegistry(), mode, agent);
    expect((await client.callTool({ name: 'greet' })).content).toEqual([{ type: 'text', text: 'Hello Ada' }]);
  });

  it('gets the progress and the log it asked for', async () => {
    const client = await connect(ordersRegistry(), mode, agent);
    const logged: unknown[] = [];
    client.setNotificationHandler('notifications/message', ({ params }) => void logged.push(params.data));
    if (mode === 'legacy') await client.setLoggingLevel('warning');
    const seen: number[] = [];
    const _meta = mode === 'legacy' ? {} : { [META.logLevel]: 'warning' };
    await client.callTool({ name: 'work', _meta }, { onprogress: ({ progress }) => seen.push(progress) });
    await settle();
    expect([seen, logged]).toEqual([[1], ['slow']]);
  });

  it('hears of changed lists and resources, and only of resources it may read', async () => {
    const registry = ordersRegistry();
    const client = await connect(registry, mode, agent);
    const heard: string[] = [];
    client.setNotificationHandler('notifications/tools/list_changed', () => void heard.push('tools'));
    client.setNotificationHandler('notifications/resources/updated', ({ params }) => void heard.push(params.uri));
    const subscribe = (uri: string): Promise<unknown> =>
      mode === 'legacy' ? client.subscribeResource({ uri }) : client.listen({ toolsListChanged: true, resourceSubscriptions: [uri] });
    await expect(subscribe('memory://margin')).rejects.toMatchObject({ code: -32602 });
    await subscribe('memory://stock');
    registry.tool('new', { access: { roles: ['agent'] } }, () => 'new');
    registry.resourceUpdated('memory://margin');
    registry.resourceUpdated('memory://stock');
    await settle();
    expect(heard).toEqual(['tools', 'memory://stock']);
    expect((await client.listTools()).tools.map((tool) => tool.name)).toContain('new');
  });
});

describe('over HTTP through createMcpHandler', () => {
  function post(
    registry: AuthenticatedToolRegistry,
    principal: Principal | undefined,
    method: string,
    params: JsonObject,
    headers: Record<string, string> = {},
  ) {
    const handler = createMcpHandler(toSdkFactory(registry));
    closing.push(() => handler.close());
    const _meta = { [META.protocolVersion]: '2026-07-28', [META.clientInfo]: { name: 't', version: '1' }, [META.clientCapabilities]: {} };
    const request = new Request('http://localhost/mcp', {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        accept: 'application/json, text/event-stream',
        'mcp-protocol-version': '2026-07-28',
        'mcp-method': method,
        ...(typeof params.name === 'string' ? { 'mcp-name': params.name } : {}),
        ...headers,
      },
      body: JSON.stringify({ jsonrpc: '2.0', id: 1, method, params: { ...params, _meta } }),
    });
    return handler.fetch(request, principal && { authInfo: toAuthInfo({ principal, transport: 'http' }) });
  }

  it('serves the caller in the auth info', async () => {
    const response = await post(ordersRegistry(), agent, 'tools/call', { name: 'lookup', arguments: { id: '7' } });
    expect(await response.json()).toMatchObject({ result: { structuredContent: { id: '7', by: 'alice' } } });
  });

  it('takes a caller without auth info for anonymous', async () => {
    const response = await post(ordersRegistry(), undefined, 'tools/list', {});
    expect(await response.json()).toMatchObject({ result: { tools: [], ttlMs: 0, cacheScope: 'private' } });
  });

  it('has header parameters checked against the declared schema', async () => {
    const registry = new AuthenticatedToolRegistry({ name: 'r', version: '1' });
    registry.tool('query', { input: z.object({ region: z.string().meta({ 'x-mcp-header': 'Region' }) }) }, ({ region }) => region);
    const params = { name: 'query', arguments: { region: 'eu' } };
    expect((await post(registry, agent, 'tools/call', params, { 'mcp-param-region': 'eu' })).status).toBe(200);
    const refused = await post(registry, agent, 'tools/call', params, { 'mcp-param-region': 'us' });
    expect([refused.status, await refused.json()]).toMatchObject([400, { error: { code: -32020 } }]);
  });
});
