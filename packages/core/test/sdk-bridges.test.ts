import { Client } from '@modelcontextprotocol/client';
import { Client as V1Client } from '@modelcontextprotocol/sdk/client/index.js';
import { McpServer as V1McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { createMcpHandler, InMemoryTransport, inputRequired, McpServer } from '@modelcontextprotocol/server';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { RpcError, type RpcService } from '../src/index.js';
import { hostSdkServer, hostSdkV1Server, serveChannel, toAuthInfo, toSdkFactory } from '../src/sdk/index.js';
import { testContext, testPrincipal } from '../src/testing/index.js';

const principal = testPrincipal({ roles: ['agent'] });
const connection = { principal, transport: 'memory' };

function echoService(): RpcService {
  return {
    info: { name: 'echo', version: '1.0.0', capabilities: { tools: { listChanged: true } } },
    handler: async ({ method, params }, context) => {
      if (method === 'tools/list') return { tools: [{ name: 'echo', inputSchema: { type: 'object' } }] };
      if (params.name === 'limited') throw new RpcError('rate_limited', 'Too many', { data: { retryAfterMs: 5 } });
      if (params.name === 'progress') {
        await context.notify('notifications/progress', {
          progressToken: (params._meta as { progressToken: string }).progressToken,
          progress: 1,
        });
      }
      if (params.name === 'bug') throw new Error('secret detail');
      return {
        content: [{ type: 'text', text: `${context.principal.id} ${context.protocolVersion} ${JSON.stringify(params.arguments)}` }],
      };
    },
  };
}

async function connectV2(service: RpcService, mode: 'auto' | 'legacy') {
  const [clientEnd, serverEnd] = InMemoryTransport.createLinkedPair();
  const served = serveChannel(service, serverEnd, connection);
  const client = new Client({ name: 'test', version: '1' }, { versionNegotiation: { mode } });
  await client.connect(clientEnd);
  return { client, served };
}

describe.each(['auto', 'legacy'] as const)('a service on a long-lived connection, SDK v2 client in mode %s', (mode) => {
  it('answers calls with the principal and the era of the connection', async () => {
    const { client } = await connectV2(echoService(), mode);
    expect((await client.listTools()).tools.map((t) => t.name)).toEqual(['echo']);
    const result = await client.callTool({ name: 'echo', arguments: { a: 1 } });
    expect(result.content).toEqual([{ type: 'text', text: `alice ${mode === 'auto' ? '2026-07-28' : '2025-11-25'} {"a":1}` }]);
    await client.close();
  });

  it('maps our errors to the wire and hides the details of others', async () => {
    const { client } = await connectV2(echoService(), mode);
    await expect(client.callTool({ name: 'limited' })).rejects.toMatchObject({
      code: 429,
      data: { retryAfterMs: 5, reason: 'rate_limited' },
    });
    await expect(client.callTool({ name: 'bug' })).rejects.toMatchObject({ code: -32603, message: expect.not.stringContaining('secret') });
    await client.close();
  });

  it('passes progress on', async () => {
    const { client } = await connectV2(echoService(), mode);
    const seen: number[] = [];
    await client.callTool({ name: 'progress' }, { onprogress: (p) => seen.push(p.progress) });
    expect(seen).toEqual([1]);
    await client.close();
  });
});

it('serves an SDK v1 client', async () => {
  const [clientEnd, serverEnd] = InMemoryTransport.createLinkedPair();
  serveChannel(echoService(), serverEnd, connection);
  const client = new V1Client({ name: 'test', version: '1' });
  await client.connect(clientEnd as never);
  expect((await client.listTools()).tools).toHaveLength(1);
  await client.close();
});

it('serves HTTP through createMcpHandler with the connection in authInfo', async () => {
  const handler = createMcpHandler(toSdkFactory(echoService()));
  const response = await handler.fetch(
    new Request('http://localhost/mcp', {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        accept: 'application/json, text/event-stream',
        'mcp-protocol-version': '2026-07-28',
        'mcp-method': 'tools/call',
        'mcp-name': 'echo',
      },
      body: JSON.stringify({
        jsonrpc: '2.0',
        id: 1,
        method: 'tools/call',
        params: {
          name: 'echo',
          arguments: {},
          _meta: {
            'io.modelcontextprotocol/protocolVersion': '2026-07-28',
            'io.modelcontextprotocol/clientInfo': { name: 't', version: '1' },
            'io.modelcontextprotocol/clientCapabilities': {},
          },
        },
      }),
    }),
    { authInfo: toAuthInfo(connection) },
  );
  expect(response.status).toBe(200);
  expect(await response.json()).toMatchObject({ result: { content: [{ text: 'alice 2026-07-28 {}' }] } });
});

describe('a hosted SDK v2 server', () => {
  const factory = () => {
    const server = new McpServer({ name: 'hosted', version: '2.0.0' });
    server.registerTool('add', { inputSchema: z.object({ a: z.number(), b: z.number() }) }, async ({ a, b }, ctx) => ({
      content: [{ type: 'text', text: `${a + b} for ${ctx.http?.authInfo?.clientId}` }],
    }));
    server.registerTool('ask', { inputSchema: z.object({}) }, async (_args, ctx) =>
      ctx.mcpReq.inputResponses?.name
        ? { content: [{ type: 'text', text: JSON.stringify(ctx.mcpReq.inputResponses.name) }] }
        : inputRequired({
            inputRequests: {
              name: inputRequired.elicit({
                message: 'Your name?',
                requestedSchema: { type: 'object', properties: { name: { type: 'string' } } },
              }),
            },
          }),
    );
    return server;
  };

  it('is a service with its own name and capabilities', async () => {
    const service = await hostSdkServer(factory);
    expect(service.info).toMatchObject({ name: 'hosted', version: '2.0.0', capabilities: { tools: {} } });
    const result = await service.handler({ method: 'tools/call', params: { name: 'add', arguments: { a: 1, b: 2 } } }, testContext());
    expect(result.content).toEqual([{ type: 'text', text: '3 for alice' }]);
  });

  it.each(['auto', 'legacy'] as const)('asks for input in both eras (%s)', async (mode) => {
    const [clientEnd, serverEnd] = InMemoryTransport.createLinkedPair();
    serveChannel(await hostSdkServer(factory), serverEnd, connection);
    const client = new Client(
      { name: 'test', version: '1' },
      { versionNegotiation: { mode }, capabilities: { elicitation: { form: {} } } },
    );
    client.setRequestHandler('elicitation/create', async () => ({ action: 'accept', content: { name: 'Ada' } }));
    await client.connect(clientEnd);
    const result = await client.callTool({ name: 'ask', arguments: {} });
    expect(JSON.stringify(result.content)).toContain('Ada');
    await client.close();
  });
});

describe('a hosted SDK v1 server', () => {
  const factory = () => {
    const server = new V1McpServer({ name: 'old', version: '1.0.0' });
    server.registerTool('shout', { inputSchema: { text: z.string() } }, async ({ text }) => ({
      content: [{ type: 'text', text: text.toUpperCase() }],
    }));
    server.registerTool('ask', { inputSchema: {} }, async () => {
      const answer = await server.server.elicitInput({
        message: 'Name?',
        requestedSchema: { type: 'object', properties: { name: { type: 'string' } } },
      });
      return { content: [{ type: 'text', text: JSON.stringify(answer) }] };
    });
    return server;
  };

  it.each(['auto', 'legacy'] as const)('is called by clients of both eras (%s)', async (mode) => {
    const [clientEnd, serverEnd] = InMemoryTransport.createLinkedPair();
    const service = await hostSdkV1Server(factory);
    expect(service.info).toMatchObject({ name: 'old', version: '1.0.0' });
    serveChannel(service, serverEnd, connection);
    const client = new Client({ name: 'test', version: '1' }, { versionNegotiation: { mode } });
    await client.connect(clientEnd);
    expect((await client.callTool({ name: 'shout', arguments: { text: 'hi' } })).content).toEqual([{ type: 'text', text: 'HI' }]);
    await client.close();
  });

  it('asks legacy callers for input', async () => {
    const [clientEnd, serverEnd] = InMemoryTransport.createLinkedPair();
    serveChannel(await hostSdkV1Server(factory), serverEnd, connection);
    const client = new Client(
      { name: 'test', version: '1' },
      { versionNegotiation: { mode: 'legacy' }, capabilities: { elicitation: { form: {} } } },
    );
    client.setRequestHandler('elicitation/create', async () => ({ action: 'accept', content: { name: 'Ada' } }));
    await client.connect(clientEnd);
    expect(JSON.stringify((await client.callTool({ name: 'ask', arguments: {} })).content)).toContain('Ada');
    await client.close();
  });
});
