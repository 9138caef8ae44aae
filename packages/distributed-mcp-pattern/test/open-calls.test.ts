import { type JsonObject, type RpcContext, RpcError, type RpcResult } from '@mcp-blocks/core';
import { ManualClock, settle, testContext, testPrincipal } from '@mcp-blocks/core/testing';
import { describe, expect, it } from 'vitest';
import { createGateway, type GatewayOptions, type GatewaySource } from '../src/index.js';

/** A legacy service in memory: its one tool asks `questions` in turn and answers with the answers. */
class AskingService implements GatewaySource {
  readonly ended: string[] = [];
  calls = 0;
  questions: readonly string[] = ['first'];

  async route(method: string, _params: JsonObject, { context }: { context?: RpcContext }): Promise<RpcResult> {
    if (method === 'tools/list') return { tools: [{ name: 'ask', inputSchema: { type: 'object' } }] };
    this.calls += 1;
    context?.signal.addEventListener('abort', () => this.ended.push((context.signal.reason as Error).message));
    const answers: unknown[] = [];
    for (const message of this.questions) answers.push((await context?.request?.('elicitation/create', { message }))?.content);
    return { answers: answers as never };
  }
}

function setUp(options: Partial<GatewayOptions> = {}) {
  const service = new AskingService();
  const clock = new ManualClock();
  const gateway = createGateway({ info: { name: 'gateway', version: '1' }, services: { legacy: service }, clock, ...options });
  const call = (params: JsonObject = {}, context: Partial<RpcContext> = {}) =>
    gateway.handler(
      { method: 'tools/call', params: { name: 'ask', arguments: {}, ...params } },
      testContext({ principal: testPrincipal({ id: 'alice' }), clientCapabilities: { elicitation: {} }, ...context }),
    );
  const retry = (asked: RpcResult, content: string, params: JsonObject = {}, context: Partial<RpcContext> = {}) => {
    const keys = Object.keys(asked.inputRequests as JsonObject);
    const inputResponses = Object.fromEntries(keys.map((key) => [key, { action: 'accept', content }]));
    return call({ requestState: asked.requestState, inputResponses, ...params } as JsonObject, context);
  };
  return { service, clock, gateway, call, retry };
}

const questionsOf = ({ inputRequests }: RpcResult) => Object.values(inputRequests as JsonObject).map((request) => request);

describe('a call in which a legacy server asks a modern caller', () => {
  it('stays open over as many rounds as the server asks', async () => {
    const { service, call, retry } = setUp();
    service.questions = ['first', 'second'];
    const first = await call();
    expect(first.resultType).toBe('input_required');
    expect(questionsOf(first)).toEqual([{ method: 'elicitation/create', params: { message: 'first' } }]);
    const second = await retry(first, 'one');
    expect(questionsOf(second)).toEqual([{ method: 'elicitation/create', params: { message: 'second' } }]);
    expect(await retry(second, 'two')).toEqual({ answers: ['one', 'two'] });
    expect(service.calls).toBe(1);
  });

  it('asks again what the caller has left out', async () => {
    const { call } = setUp();
    const first = await call();
    const again = await call({ requestState: first.requestState as string, inputResponses: {} });
    expect(again.inputRequests).toEqual(first.inputRequests);
    expect(again.requestState).not.toBe(first.requestState);
  });

  it.each<[string, JsonObject, Partial<RpcContext>]>([
    ['another principal', {}, { principal: testPrincipal({ id: 'mallory' }) }],
    ['the same principal with other rights', {}, { principal: testPrincipal({ id: 'alice', roles: ['admin'] }) }],
    ['another request', { arguments: { other: true } }, {}],
    ['a changed state', { requestState: 'mcp-blocks-open-call:AAAA' }, {}],
  ])('is not given to %s, and waits on', async (_who, params, context) => {
    const { service, call, retry } = setUp();
    const first = await call();
    await expect(retry(first, 'stolen', params, context)).rejects.toMatchObject({ code: 'invalid_params' });
    expect(await retry(first, 'one')).toEqual({ answers: ['one'] });
    expect(service.calls).toBe(1);
  });

  it('takes each state once', async () => {
    const { call, retry } = setUp();
    const first = await call();
    await retry(first, 'one');
    await expect(retry(first, 'two')).rejects.toMatchObject({ code: 'invalid_params' });
  });

  it('ends when the caller does not answer in time', async () => {
    const { service, clock, call, retry } = setUp({ openCalls: { ttlMs: 1_000 } });
    const first = await call();
    await clock.advance(999);
    expect(service.ended).toEqual([]);
    await clock.advance(1);
    expect(service.ended).toEqual(['the caller did not answer within 1000 ms']);
    await expect(retry(first, 'late')).rejects.toMatchObject({ code: 'invalid_params' });
    expect(clock.pendingTimers).toBe(0);
  });

  it('ends when the caller leaves the request it waits in', async () => {
    const { service, call } = setUp();
    service.questions = ['first', 'second'];
    const inner = service.route.bind(service);
    let stuck: RpcContext | undefined;
    service.route = async (method, params, options) => {
      if (method === 'tools/list') return inner(method, params, options);
      stuck = options.context;
      await new Promise((_resolve, reject) => stuck?.signal.addEventListener('abort', () => reject(stuck?.signal.reason as Error)));
      return {};
    };
    const abort = new AbortController();
    const answer = call({}, { signal: abort.signal });
    await settle();
    abort.abort(new Error('gone'));
    await expect(answer).rejects.toThrow('gone');
    expect(stuck?.signal.aborted).toBe(true);
  });

  it('is one of a bounded number, of one principal and of all', async () => {
    const { call, retry } = setUp({ openCalls: { max: 3, maxPerPrincipal: 2 } });
    const as = (id: string) => call({}, { principal: testPrincipal({ id }) });
    const mine = await call();
    await as('alice');
    await expect(as('alice')).rejects.toMatchObject({ code: 'unavailable' });
    await as('bob');
    await expect(as('carol')).rejects.toMatchObject({ code: 'unavailable' });
    await retry(mine, 'one');
    await settle();
    expect((await as('carol')).resultType).toBe('input_required');
  });

  it('ends with the gateway, which takes no more', async () => {
    const { service, clock, gateway, call } = setUp();
    await call();
    await gateway.close();
    await gateway.close();
    expect(service.ended).toEqual(['the gateway is closed']);
    expect(clock.pendingTimers).toBe(0);
    await expect(call()).rejects.toMatchObject({ code: 'unavailable' });
  });

  it('passes a failure of the server on', async () => {
    const { service, call, retry } = setUp();
    const first = await call();
    await retry(first, 'one');
    const inner = service.route.bind(service);
    service.route = async (method, params, options) => {
      if (method === 'tools/list') return inner(method, params, options);
      await options.context?.request?.('elicitation/create', {});
      throw new RpcError('upstream_error', 'broken');
    };
    await expect(retry(await call(), 'x')).rejects.toMatchObject({ code: 'upstream_error' });
  });
});

it("a state that is an upstream server's own goes on to it", async () => {
  const seen: JsonObject[] = [];
  const { call } = setUp({
    services: {
      modern: {
        async route(method, params) {
          if (method === 'tools/list') return { tools: [{ name: 'ask', inputSchema: { type: 'object' } }] };
          seen.push(params);
          return { resultType: 'input_required', inputRequests: {}, requestState: 'theirs' };
        },
      },
    },
  });
  const first = await call();
  await call({ requestState: first.requestState as string, inputResponses: {} });
  expect(seen.map(({ requestState }) => requestState)).toEqual([undefined, 'theirs']);
});

it.each(['ttlMs', 'max', 'maxPerPrincipal'] as const)('openCalls.%s is checked', (name) => {
  for (const value of [0, 1.5, Number.NaN]) {
    expect(() => setUp({ openCalls: { [name]: value } })).toThrow(`openCalls.${name}: expected a whole number from 1, got ${value}`);
  }
});
