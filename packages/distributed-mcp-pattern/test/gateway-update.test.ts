import type { JsonObject, ServiceEvent } from '@mcp-blocks/core';
import { RpcError } from '@mcp-blocks/core';
import { ManualClock, settle, testContext } from '@mcp-blocks/core/testing';
import { expect, it } from 'vitest';
import {
  type ChangeWatch,
  createGateway,
  type GatewayOptions,
  type GatewaySource,
  type RouteOptions,
  type WatchOptions,
} from '../src/index.js';

interface Watching extends WatchOptions {
  readonly tell: (event: ServiceEvent) => void;
  closed: boolean;
}

/** A service in memory whose calls end when the test says so. */
class Source implements GatewaySource {
  readonly watching: Watching[] = [];
  readonly tools: readonly string[];
  down = false;
  answer: ((options: RouteOptions) => Promise<JsonObject>) | undefined;

  constructor(...tools: string[]) {
    this.tools = tools;
  }

  async route(method: string, params: JsonObject, options: RouteOptions): Promise<JsonObject> {
    if (this.down) throw new RpcError('unavailable', 'down');
    if (method === 'tools/list') return { tools: this.tools.map((name) => ({ name, inputSchema: { type: 'object' } })) };
    if (method === 'resources/list') return { resources: [{ name: 'a', uri: 'test://a' }] };
    if (method === 'resources/templates/list') return { resourceTemplates: [] };
    return this.answer?.(options) ?? { served: params.name ?? null, by: this.tools.join() };
  }

  watch(options: WatchOptions, listener: (event: ServiceEvent) => void): ChangeWatch {
    const watching: Watching = { ...options, tell: listener, closed: false };
    this.watching.push(watching);
    return {
      ready: Promise.resolve(),
      close: () => {
        watching.closed = true;
      },
    };
  }

  open(uri?: string): number {
    return this.watching.filter((watching) => watching.uri === uri && !watching.closed).length;
  }
}

function setUp(services: Record<string, GatewaySource>, options: Partial<GatewayOptions> = {}) {
  const clock = new ManualClock();
  const gateway = createGateway({ info: { name: 'gateway', version: '1' }, services, clock, ...options });
  const call = (name: string, params: JsonObject = {}, context: Parameters<typeof testContext>[0] = {}) =>
    gateway.handler({ method: 'tools/call', params: { name, ...params } }, testContext(context));
  const names = async () =>
    ((await gateway.handler({ method: 'tools/list', params: {} }, testContext())) as { tools: { name: string }[] }).tools.map(
      ({ name }) => name,
    );
  return { clock, gateway, call, names };
}

it('goes on with other services at once, while calls in progress end where they are', async () => {
  const [orders, old, fresh] = [new Source('order'), new Source('draw'), new Source('paint')];
  const { gateway, call, names } = setUp({ orders, art: old });
  expect(await names()).toEqual(['order', 'draw']);
  const held = Promise.withResolvers<JsonObject>();
  old.answer = () => held.promise;
  const inProgress = call('draw');
  await settle();

  gateway.update({ services: { orders, art: fresh } });
  expect(await names()).toEqual(['order', 'paint']);
  expect(await call('paint')).toMatchObject({ by: 'paint' });
  held.resolve({ late: true });
  expect(await inProgress).toEqual({ late: true });

  gateway.update({ services: { orders } });
  expect(await names()).toEqual(['order']);
  await expect(call('paint')).rejects.toMatchObject({ code: 'invalid_params', message: 'Unknown tool: paint' });
});

it('tells listeners that the lists have changed, and listens where it did not yet', async () => {
  const [orders, old, fresh] = [new Source('order'), new Source('draw'), new Source('paint')];
  const { clock, gateway } = setUp({ orders, art: old });
  const told: string[] = [];
  const stop = gateway.events?.subscribe(({ kind }) => told.push(kind));
  gateway.update({ services: { orders, art: fresh } });
  await clock.advance(50);
  expect(told.sort()).toEqual(['prompts_list_changed', 'resources_list_changed', 'tools_list_changed']);
  expect([orders.watching.length, old.open(), fresh.open()], 'what has not changed is watched on').toEqual([1, 0, 1]);
  gateway.update({ services: { orders, art: fresh }, listTtlMs: 5 });
  await clock.advance(50);
  expect(told, 'other options are no change of the lists').toHaveLength(3);
  stop?.();
  expect(fresh.open()).toBe(0);
});

it('watches what callers have subscribed to at the new service, and tells them that it may have changed', async () => {
  const [old, fresh] = [new Source('draw'), new Source('draw')];
  const { clock, gateway } = setUp({ art: old });
  const told: ServiceEvent[] = [];
  gateway.events?.subscribe((event) => told.push(event));
  const subscribe = (method: string) => gateway.handler({ method, params: { uri: 'test://a' } }, testContext());
  await subscribe('resources/subscribe');
  expect(old.open('test://a')).toBe(1);
  gateway.update({ services: { art: fresh } });
  await clock.advance(50);
  expect([old.open('test://a'), fresh.open('test://a')]).toEqual([0, 1]);
  expect(told).toContainEqual({ kind: 'resource_updated', uri: 'test://a' });
  await subscribe('resources/unsubscribe');
  expect(fresh.open('test://a')).toBe(0);

  await subscribe('resources/subscribe');
  gateway.update({ services: { other: new Source('x') } });
  expect(fresh.open('test://a'), 'a service that is gone is not watched').toBe(0);
});

it('leaves a name with its service while that is down, unless names are made anew', async () => {
  const [first, second] = [new Source('search'), new Source('search')];
  const { gateway, call, names } = setUp({ first, second });
  await names();
  first.down = true;
  gateway.update({ services: { first, second, third: new Source('x') } });
  await expect(call('search')).rejects.toMatchObject({ code: 'unavailable' });
  gateway.update({ collision: 'prefix' });
  expect(await names()).toEqual(['second__search', 'third__x']);
});

it('lets a caller answer the question of a call that began before', async () => {
  const art = new Source('draw');
  art.answer = async ({ context }) => ({ answer: (await context?.request?.('elicitation/create', { message: 'Colour?' })) ?? null });
  const { gateway, call } = setUp({ art });
  const context = { clientCapabilities: { elicitation: {} } };
  const asked = await call('draw', {}, context);
  expect(asked).toMatchObject({ resultType: 'input_required' });
  gateway.update({ services: { other: new Source('x') } });
  const inputResponses = { [Object.keys(asked.inputRequests as JsonObject)[0] as string]: { action: 'accept', content: {} } };
  const answered = await call('draw', { requestState: asked.requestState as string, inputResponses }, context);
  expect(answered).toEqual({ answer: { action: 'accept', content: {} } });
});

it.each([
  [{ services: {} }, 'services: expected at least one service'],
  [{ services: { 'a b': new Source() } }, 'services.a b: expected a name of letters, digits and -'],
  [{ services: { other: new Source('x') }, listTimeoutMs: 0 }, 'listTimeoutMs: expected 1 or more, got 0'],
])('changes nothing when an option is wrong: %o', async (changes, message) => {
  const { gateway, names } = setUp({ art: new Source('draw') });
  expect(() => gateway.update(changes)).toThrow(message);
  expect(await names()).toEqual(['draw']);
});
