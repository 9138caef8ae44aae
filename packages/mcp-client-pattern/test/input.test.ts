import { type JsonObject, type RpcContext, RpcError, type RpcService } from '@mcp-blocks/core';
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { InputContext, InputHandlers, MCPClientConfig } from '../src/index.js';
import { connectTo, startServer } from './real-server.js';
import { type Bench, benches, settle, watch } from './support.js';

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

const start = benches();
const ERAS = ['modern', 'legacy'] as const;

const NAME_FORM = {
  method: 'elicitation/create',
  params: {
    mode: 'form',
    message: 'Name?',
    requestedSchema: { type: 'object', properties: { name: { type: 'string' } }, required: ['name'] },
  },
};

/** A server that asks for everything it may ask for, in two rounds. */
function askingService() {
  const effects: string[] = [];
  const handler = async ({ method, params }: { method: string; params: JsonObject }): Promise<JsonObject> => {
    if (method === 'tools/list') return { tools: [{ name: 'order', inputSchema: { type: 'object' } }] };
    if (params.requestState === undefined)
      return { resultType: 'input_required', inputRequests: { name: NAME_FORM }, requestState: 'first' };
    if (params.requestState === 'first') {
      const { name } = (params.inputResponses as { name: { content: { name: string } } }).name.content;
      return {
        resultType: 'input_required',
        requestState: `second ${name}`,
        inputRequests: {
          page: { method: 'elicitation/create', params: { mode: 'url', message: 'Pay', url: 'https://pay.example/1', elicitationId: '1' } },
          model: {
            method: 'sampling/createMessage',
            params: { messages: [{ role: 'user', content: { type: 'text', text: `Greet ${name}` } }], maxTokens: 10 },
          },
          where: { method: 'roots/list' },
        },
      };
    }
    const { where, model, page } = params.inputResponses as Record<'where' | 'model' | 'page', JsonObject>;
    const [{ uri }] = where.roots as [{ uri: string }];
    const { text } = model.content as { text: string };
    const answer = [params.requestState, page.action, text, uri].join('; ');
    effects.push(answer);
    return { content: [{ type: 'text', text: answer }] };
  };
  const service: RpcService = { info: { name: 'asking', version: '1', capabilities: { tools: {} } }, handler };
  return { service, effects };
}

describe('against a real server', () => {
  it.each(ERAS.flatMap((era) => (['http', 'websocket'] as const).map((transport) => [era, transport] as const)))(
    'the handlers answer what it asks, %s over %s',
    async (versionNegotiation, transport) => {
      const { service, effects } = askingService();
      const { stop, httpDoor, webSocketDoor } = await startServer(service);
      cleanups.push(stop);
      const form = vi.fn<NonNullable<NonNullable<InputHandlers['elicitation']>['form']>>(() => ({
        action: 'accept',
        content: { name: 'Ada' },
      }));
      const client = connectTo(
        { http: httpDoor.port, webSocket: webSocketDoor.port },
        {
          versionNegotiation,
          enableWebSocket: transport === 'websocket',
          enableHttpFallback: transport === 'http',
          inputHandlers: {
            elicitation: { form, url: ({ url }) => ({ action: url === 'https://pay.example/1' ? 'accept' : 'decline' }) },
            sampling: async ({ messages: [message] }) => ({
              model: 'parrot',
              role: 'assistant',
              content: { type: 'text', text: JSON.stringify(message?.content) },
            }),
            roots: () => ({ roots: [{ uri: 'file:///home/ada' }] }),
          },
        },
      );
      cleanups.push(() => client.close());
      const { content } = await client.callTool('order');
      const text = 'second Ada; accept; {"type":"text","text":"Greet Ada"}; file:///home/ada';
      expect(content).toEqual([{ type: 'text', text }]);
      expect(effects).toEqual([text]);
      expect(client.getConnectionStatus()).toMatchObject({ transport, era: versionNegotiation });
      expect(form.mock.calls.map(([params]) => params)).toEqual([
        expect.objectContaining({ message: 'Name?', requestedSchema: expect.anything() }),
      ]);
    },
  );

  it.each(ERAS)('it is told what nobody answers here, and does not ask, in the %s era', async (versionNegotiation) => {
    const { service, effects } = askingService();
    const { stop, httpDoor, webSocketDoor } = await startServer(service);
    cleanups.push(stop);
    const roots = vi.fn<NonNullable<InputHandlers['roots']>>();
    const client = connectTo({ http: httpDoor.port, webSocket: webSocketDoor.port }, { versionNegotiation, inputHandlers: { roots } });
    cleanups.push(() => client.close());
    const outcome = await client.callTool('order').catch((error: unknown) => error);
    // In the legacy era a tool's failure is a result.
    if (versionNegotiation === 'modern') expect(outcome).toMatchObject({ code: 'missing_client_capability' });
    else expect(outcome).toMatchObject({ isError: true });
    expect(effects).toEqual([]);
    expect(roots).not.toHaveBeenCalled();
  });
});

/** A user in front of a dialog. */
function user() {
  const dialogs: { signal: AbortSignal; answer(name: string): void; fail(error: Error): void }[] = [];
  const form = (_params: unknown, { signal }: InputContext) =>
    new Promise<{ action: 'accept'; content: { name: string } }>((resolve, reject) => {
      dialogs.push({ signal, answer: (name) => resolve({ action: 'accept', content: { name } }), fail: reject });
    });
  return { dialogs, inputHandlers: { elicitation: { form } } };
}

/** A bench whose service asks for a name, in everything. */
function asking(versionNegotiation: 'modern' | 'legacy', config: Partial<MCPClientConfig> = {}) {
  const { dialogs, inputHandlers } = user();
  const made = start({ versionNegotiation, inputHandlers, ...config });
  const refusals: string[] = [];
  const { handler } = made.service;
  const ask = async (
    { method, params }: { method: string; params: JsonObject },
    context: Required<Pick<RpcContext, 'request'>>,
  ): Promise<JsonObject> => {
    if (method.endsWith('/list')) return handler({ method, params });
    if (versionNegotiation === 'legacy') {
      const answer = await context.request(NAME_FORM.method, NAME_FORM.params).catch((error: Error) => {
        refusals.push(error.message);
        throw error;
      });
      return handler({ method, params: { ...params, arguments: answer } });
    }
    if (params.inputResponses === undefined) return { resultType: 'input_required', inputRequests: { name: NAME_FORM } };
    return handler({ method, params: { ...params, arguments: (params.inputResponses as JsonObject).name as JsonObject } });
  };
  Object.assign(made.service, { handler: ask });
  return { ...made, dialogs, refusals };
}

describe.each(ERAS)('while a user is asked, in the %s era', (era) => {
  it.each(['a tool call', 'a reading'])('the time of %s stands still', async (what) => {
    const { client, clock, service, dialogs } = asking(era);
    await client.connect();
    const read = () =>
      what === 'a reading' ? client.readResource('test://a', { timeout: 1000 }) : client.callTool('pay', {}, { timeout: 1000 });
    const request = watch<object>(read());
    await settle();
    await clock.advance(3_600_000);
    expect(request.settled).toBe(false);
    service.hold.add('pay').add('resources/read');
    dialogs[0]?.answer('Ada');
    await settle();
    await clock.advance(999);
    expect(request.settled).toBe(false);
    await clock.advance(1);
    expect(request.error).toMatchObject({ code: what === 'a reading' ? 'timeout' : 'ambiguous_outcome' });
    // Nor is it latency of the server's.
    expect(client.getMetrics().averageLatency).toBe(0);
    service.release('pay');
    service.release('resources/read');
  });

  it('what was answered is no latency, and is kept in no cache', async () => {
    const { client, clock, dialogs } = asking(era);
    await client.connect();
    const reading = client.readResource('test://a', { useCache: true });
    await settle();
    await clock.advance(60_000);
    dialogs[0]?.answer('Ada');
    await reading;
    expect(client.getMetrics()).toMatchObject({ successfulRequests: 1, averageLatency: 0, latencyPercentiles: { p99: 0 } });
    expect(client.getCacheStats().size).toBe(0);
  });

  it('cancelling the request closes the dialog', async () => {
    const { client, service, dialogs } = asking(era);
    const controller = new AbortController();
    const call = watch(client.callTool('pay', {}, { signal: controller.signal }));
    await settle();
    controller.abort();
    await settle();
    expect(call.error).toMatchObject({ code: 'cancelled' });
    expect(dialogs.map(({ signal }) => signal.aborted)).toEqual([true]);
    expect(service.count('tools/call')).toBe(0);
  });

  it('a handler that throws ends the request, which is not asked again, and its words stay here', async () => {
    const { client, dialogs, refusals } = asking(era);
    const reading = watch(client.readResource('test://a'));
    await settle();
    dialogs[0]?.fail(new Error('/home/ada/.secret is missing'));
    await settle();
    if (era === 'modern') expect(reading.error).toMatchObject({ code: 'cancelled', cause: { message: '/home/ada/.secret is missing' } });
    else expect(refusals).toEqual(['The handler of elicitation/create has no answer']);
    expect(reading.settled).toBe(true);
    expect(dialogs.length).toBe(1);
  });
});

describe('when the connection is lost while a user is asked', () => {
  it('a modern request, which is with nobody meanwhile, begins anew on the next one', async () => {
    const { client, service, webSocket, dialogs } = asking('modern');
    const call = watch(client.callTool('pay'));
    await settle();
    await webSocket.cut();
    expect(dialogs.map(({ signal }) => signal.aborted)).toEqual([true, false]);
    dialogs[0]?.answer('too late');
    dialogs[1]?.answer('Ada');
    await settle();
    expect(JSON.stringify(call.value)).toContain('Ada');
    expect(service.count('tools/call')).toBe(1);
  });

  it('a legacy one, which the server is at work on, is ambiguous', async () => {
    const { client, webSocket, dialogs } = asking('legacy');
    const call = watch(client.callTool('pay'));
    await settle();
    await webSocket.cut();
    expect(call.error).toMatchObject({ code: 'ambiguous_outcome', reason: 'connection_lost' });
    expect(dialogs.map(({ signal }) => signal.aborted)).toEqual([true]);
  });
});

it('a modern request whose last round is lost may have been carried out', async () => {
  const { client, service, webSocket, dialogs } = asking('modern');
  const call = watch(client.callTool('pay'));
  await settle();
  service.hold.add('pay');
  dialogs[0]?.answer('Ada');
  await settle();
  await webSocket.cut();
  expect(call.error).toMatchObject({ code: 'ambiguous_outcome', reason: 'connection_lost' });
  expect(dialogs.length).toBe(1);
  service.release('pay');
});

it('a server that asks without end is left after ten rounds', async () => {
  let asked = 0;
  const made: Bench = start({
    versionNegotiation: 'modern',
    inputHandlers: { elicitation: { form: () => ({ action: 'accept', content: { name: `name ${(asked += 1)}` } }) } },
  });
  Object.assign(made.service, { handler: async () => ({ resultType: 'input_required', inputRequests: { name: NAME_FORM } }) });
  await expect(made.client.readResource('test://a')).rejects.toMatchObject({
    code: 'cancelled',
    message: expect.stringContaining('10 rounds'),
  });
  expect(asked).toBe(10);
});

it("what a handler throws as an RpcError is the caller's cause, not the server's answer", async () => {
  const made = start({
    versionNegotiation: 'modern',
    inputHandlers: { elicitation: { form: () => Promise.reject(new RpcError('rate_limited', 'mine')) } },
  });
  Object.assign(made.service, { handler: async () => ({ resultType: 'input_required', inputRequests: { name: NAME_FORM } }) });
  await expect(made.client.readResource('test://a')).rejects.toMatchObject({ code: 'cancelled', cause: { code: 'rate_limited' } });
  expect(made.client.getMetrics().retries).toBe(0);
});
