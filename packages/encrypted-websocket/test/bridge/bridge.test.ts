import { type JsonObject, type JsonRpcMessage, META, RpcError } from '@mcp-blocks/core';
import { ManualClock, settle } from '@mcp-blocks/core/testing';
import { describe, expect, it } from 'vitest';
import { Bridge, type BridgeOptions } from '../../src/bridge/bridge.js';
import type { Loss, Outcome, RemoteEvents } from '../../src/bridge/remote.js';
import { INITIALIZE, INITIALIZED } from './support.js';

type Sent = Partial<{ id: string | number; method: string; params: JsonObject; result: JsonObject }>;

/** A bridge between two ends that the test holds. Backoff takes 250 ms the first time, 500 the second, and so on. */
function bridgeInMemory(options: Partial<BridgeOptions> & { connectionBound?: boolean } = {}) {
  const clock = new ManualClock();
  const remote = {
    events: undefined as unknown as RemoteEvents,
    sent: [] as Sent[],
    opened: 0,
    closed: 0,
    open: async (): Promise<void> => {},
    take: () => remote.sent.splice(0),
    answer: (id: string | number, result: JsonObject = {}) => void remote.events.message({ jsonrpc: '2.0', id, result }),
  };
  const received: (Sent & { error?: { code: number; message: string } })[] = [];
  const fatal: RpcError[] = [];
  const bridge = new Bridge({
    connect: (events) => {
      remote.events = events;
      return {
        connectionBound: options.connectionBound ?? true,
        open: async () => {
          remote.opened += 1;
          await remote.open();
        },
        send: async (message) => void remote.sent.push(message),
        close: async () => {
          remote.closed += 1;
        },
      };
    },
    toHost: (message) => void received.push(message as never),
    onFatal: (error) => fatal.push(error),
    warn: () => {},
    debug: () => {},
    connectTimeoutMs: 10_000,
    waitTimeoutMs: 5_000,
    maxWaiting: 3,
    clock,
    random: () => 0.5,
    ...options,
  });
  return { clock, remote, received, fatal, bridge, taken: () => received.splice(0) };
}

type InMemory = ReturnType<typeof bridgeInMemory>;

const call = (id: string | number, method = 'tools/call', params: JsonObject = {}): JsonRpcMessage => ({
  jsonrpc: '2.0',
  id,
  method,
  params,
});
const BROKEN: Loss = { error: new RpcError('unavailable', 'broken'), inFlight: 'unknown', session: true };
const DRAINED: Loss = { error: new RpcError('unavailable', 'drained'), inFlight: 'not-started', session: true };
const methods = (sent: readonly Sent[]) => sent.map(({ method }) => method);

async function connected(options?: Parameters<typeof bridgeInMemory>[0]): Promise<InMemory> {
  const made = bridgeInMemory(options);
  made.bridge.start();
  await settle();
  return made;
}

/** A host of the legacy era that has shaken hands, set a log level and subscribed to two resources, one of them no more. */
async function legacy(): Promise<InMemory> {
  const made = await connected();
  const { bridge, remote } = made;
  await bridge.fromHost(INITIALIZE as JsonRpcMessage);
  remote.answer('init', { protocolVersion: '2025-11-25', capabilities: {} });
  await bridge.fromHost(INITIALIZED as JsonRpcMessage);
  await bridge.fromHost(call(1, 'logging/setLevel', { level: 'debug' }));
  await bridge.fromHost(call(2, 'resources/subscribe', { uri: 'test://a' }));
  await bridge.fromHost(call(3, 'resources/subscribe', { uri: 'test://b' }));
  await bridge.fromHost(call(4, 'resources/subscribe', { uri: 'test://refused' }));
  await bridge.fromHost(call(5, 'resources/unsubscribe', { uri: 'test://a' }));
  for (const id of [1, 2, 3, 5]) remote.answer(id);
  void remote.events.message({ jsonrpc: '2.0', id: 4, error: { code: -32602, message: 'no' } });
  remote.take();
  made.taken();
  return made;
}

describe('while there is a connection', () => {
  it('passes messages on as they are, both ways', async () => {
    const { bridge, remote, received } = await connected();
    const messages = [call('a'), { jsonrpc: '2.0', method: 'notifications/roots/list_changed' }] as const;
    for (const message of messages) await bridge.fromHost(message);
    expect(remote.take()).toEqual(messages);
    const back = [
      { jsonrpc: '2.0', method: 'notifications/progress', params: { progressToken: 'a', progress: 1 } },
      { jsonrpc: '2.0', id: 7, method: 'roots/list' },
      { jsonrpc: '2.0', id: 'a', result: { content: [] } },
    ] as const;
    for (const message of back) void remote.events.message(message as JsonRpcMessage);
    expect(received).toEqual(back);
    await bridge.fromHost({ jsonrpc: '2.0', id: 7, result: { roots: [] } });
    expect(remote.take()).toEqual([{ jsonrpc: '2.0', id: 7, result: { roots: [] } }]);
  });

  it('gives one answer per id, and none to what the host has cancelled', async () => {
    const { bridge, remote, received } = await connected();
    await bridge.fromHost(call(1));
    await bridge.fromHost(call(2));
    await bridge.fromHost(call(1));
    expect(remote.take()).toHaveLength(2);
    await bridge.fromHost({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 2 } });
    expect(methods(remote.take())).toEqual(['notifications/cancelled']);
    for (const id of [1, 1, 2, 99]) remote.answer(id);
    expect(received).toEqual([{ jsonrpc: '2.0', id: 1, result: {} }]);
  });
});

describe('when the connection breaks', () => {
  it.each<[method: string, loss: Loss, again: boolean]>([
    ['tools/list', BROKEN, true],
    ['resources/read', BROKEN, true],
    ['initialize', BROKEN, true],
    ['tools/call', BROKEN, false],
    ['tasks/cancel', BROKEN, false],
    ['tools/call', DRAINED, true],
  ])('%s after %o is sent again: %s', async (method, loss, again) => {
    const { bridge, remote, received, clock } = await connected();
    await bridge.fromHost(call(1, method));
    remote.take();
    remote.events.lost(loss);
    expect(received).toEqual(again ? [] : [{ jsonrpc: '2.0', id: 1, error: expect.objectContaining({ code: 504 }) }]);
    await clock.advance(249);
    expect(remote.opened).toBe(1);
    await clock.advance(1);
    expect(remote.opened).toBe(2);
    expect(methods(remote.take())).toEqual(again ? [method] : []);
  });

  it('does not send a request again for ever that kills its server', async () => {
    const { bridge, remote, received, clock } = await connected();
    await bridge.fromHost(call(1, 'tools/list'));
    for (let death = 1; death <= 3; death += 1) {
      expect(remote.take()).toHaveLength(1);
      expect(received).toEqual([]);
      remote.events.lost(BROKEN);
      await clock.advance(4_000);
    }
    expect(remote.take()).toEqual([]);
    expect(received).toEqual([{ jsonrpc: '2.0', id: 1, error: expect.objectContaining({ code: 503 }) }]);
  });

  it('restores a legacy session before anything else, and the host sees nothing of it', async () => {
    const { bridge, remote, received, clock } = await legacy();
    remote.events.lost(BROKEN);
    await bridge.fromHost(call(10));
    await clock.advance(250);
    const [initialize, ...none] = remote.take();
    expect(none).toEqual([]);
    expect(initialize).toMatchObject({ method: 'initialize', params: INITIALIZE.params });
    remote.answer(initialize?.id ?? '', { protocolVersion: '2025-11-25', capabilities: {} });
    await settle();
    const restored: Sent[] = [];
    for (let step = remote.take(); step.length > 0; step = remote.take()) {
      restored.push(...step);
      for (const { id } of step) if (id !== undefined && id !== 10) remote.answer(id);
      await settle();
    }
    expect(restored).toMatchObject([
      { method: 'notifications/initialized' },
      { method: 'logging/setLevel', params: { level: 'debug' } },
      { method: 'resources/subscribe', params: { uri: 'test://b' } },
      { id: 10, method: 'tools/call' },
    ]);
    expect(received).toEqual([]);
    remote.answer(10, { content: [] });
    expect(received).toEqual([{ jsonrpc: '2.0', id: 10, result: { content: [] } }]);
  });

  it('begins anew when the connection breaks while the session is restored', async () => {
    const { remote, received, clock } = await legacy();
    remote.events.lost(BROKEN);
    await clock.advance(250);
    expect(methods(remote.take())).toEqual(['initialize']);
    remote.events.lost(BROKEN);
    await clock.advance(1_000);
    expect(methods(remote.take())).toEqual(['initialize']);
    expect(received).toEqual([]);
  });

  it('gives up when the server comes back with another revision', async () => {
    const { bridge, remote, received, fatal, clock } = await legacy();
    remote.events.lost(BROKEN);
    await bridge.fromHost(call(10));
    await clock.advance(250);
    remote.answer(remote.take()[0]?.id ?? '', { protocolVersion: '2024-11-05' });
    await settle();
    expect(fatal).toHaveLength(1);
    expect(received).toEqual([{ jsonrpc: '2.0', id: 10, error: expect.objectContaining({ code: 503 }) }]);
    expect(clock.pendingTimers).toBe(0);
  });

  it('opens a subscription again under its id, acknowledged to the host once, however long it takes', async () => {
    const { bridge, remote, received, clock } = await connected();
    const listen = call('sub', 'subscriptions/listen', { notifications: { toolsListChanged: true } });
    const acknowledged = {
      jsonrpc: '2.0',
      method: 'notifications/subscriptions/acknowledged',
      params: { _meta: { [META.subscriptionId]: 'sub' } },
    } as const;
    await bridge.fromHost(listen);
    void remote.events.message(acknowledged);
    expect(received).toEqual([acknowledged]);
    for (let breaks = 0; breaks < 5; breaks += 1) {
      remote.take();
      remote.open = async () => Promise.reject(new RpcError('unavailable', 'down'));
      remote.events.lost(BROKEN);
      await clock.advance(60_000);
      remote.open = async () => {};
      await clock.advance(60_000);
      expect(remote.take()).toEqual([listen]);
      void remote.events.message(acknowledged);
    }
    expect(received).toEqual([acknowledged]);
    await bridge.idle();
  });

  it('takes back what the server had asked, and keeps late answers from the next session', async () => {
    const { bridge, remote, clock, taken } = await legacy();
    void remote.events.message({ jsonrpc: '2.0', id: 0, method: 'elicitation/create' });
    expect(taken()).toMatchObject([{ id: 0, method: 'elicitation/create' }]);
    remote.events.lost(BROKEN);
    expect(taken()).toMatchObject([{ method: 'notifications/cancelled', params: { requestId: 0 } }]);
    await clock.advance(250);
    for (let turn = 0; turn < 4; turn += 1) {
      for (const { id } of remote.take()) if (id !== undefined) remote.answer(id, { protocolVersion: '2025-11-25' });
      await settle();
    }
    void remote.events.message({ jsonrpc: '2.0', id: 0, method: 'elicitation/create' });
    const [asked] = taken();
    expect(asked?.id).not.toBe(0);
    remote.take();
    await bridge.fromHost({ jsonrpc: '2.0', id: 0, result: { action: 'accept' } });
    expect(remote.take()).toEqual([]);
    void remote.events.message({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 0 } });
    expect(taken()).toMatchObject([{ params: { requestId: asked?.id } }]);
    await bridge.fromHost({ jsonrpc: '2.0', id: asked?.id ?? '', result: { action: 'accept' } });
    expect(remote.take()).toEqual([]);
  });

  it('notices a loss that comes before opening has been told', async () => {
    const made = bridgeInMemory();
    made.remote.open = async () => {
      if (made.remote.opened === 1) made.remote.events.lost(BROKEN);
    };
    made.bridge.start();
    await made.bridge.fromHost(call(1));
    await settle();
    expect(made.remote.take()).toEqual([]);
    await made.clock.advance(1_000);
    expect(made.remote.opened).toBe(2);
    expect(methods(made.remote.take())).toEqual(['tools/call']);
  });
});

describe('while there is no connection', () => {
  const down = async () => {
    const made = await connected();
    made.remote.open = async () => Promise.reject(new RpcError('unavailable', 'down'));
    made.remote.events.lost(BROKEN);
    return made;
  };

  it('requests wait, as many and as long as allowed', async () => {
    const { bridge, remote, clock, taken } = await down();
    for (const id of [1, 2, 3, 4]) await bridge.fromHost(call(id));
    expect(taken()).toMatchObject([{ id: 4, error: { code: 503 } }]);
    await clock.advance(4_999);
    expect(taken()).toEqual([]);
    await clock.advance(1);
    expect(taken()).toMatchObject([{ id: 1, error: { code: 503 } }, { id: 2 }, { id: 3 }]);
    expect(remote.take()).toEqual([]);
  });

  it('what the host cancels meanwhile is never sent', async () => {
    const { bridge, remote, clock, taken } = await down();
    await bridge.fromHost(call(1));
    await bridge.fromHost({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 1 } });
    remote.open = async () => {};
    await clock.advance(4_000);
    expect(remote.take()).toEqual([]);
    expect(taken()).toEqual([]);
  });

  it('backs off: each attempt waits up to twice as long, at most 15 s', async () => {
    const { remote, clock } = await down();
    const waits: number[] = [];
    for (let attempt = 0; attempt < 8; attempt += 1) {
      const { opened } = remote;
      const from = clock.now();
      while (remote.opened === opened) await clock.advance(50);
      waits.push(clock.now() - from);
    }
    expect(waits).toEqual([250, 500, 1_000, 2_000, 4_000, 7_500, 7_500, 7_500]);
  });

  it('refused credentials fail what waits, and a renewed one is used', async () => {
    const { bridge, remote, clock, taken, fatal } = await down();
    remote.open = async () => Promise.reject(new RpcError('unauthenticated', 'expired'));
    await bridge.fromHost(call(1));
    await clock.advance(250);
    expect(taken()).toMatchObject([{ id: 1, error: { code: 401 } }]);
    expect(fatal).toEqual([]);
    remote.open = async () => {};
    await bridge.fromHost(call(2));
    await clock.advance(4_000);
    expect(remote.take()).toMatchObject([{ id: 2 }]);
  });
});

describe('at first', () => {
  it.each(['unauthenticated', 'forbidden'] as const)('%s is the end', async (code) => {
    const { bridge, remote, clock, received, fatal } = bridgeInMemory();
    remote.open = async () => Promise.reject(new RpcError(code, 'refused'));
    await bridge.fromHost(call(1));
    bridge.start();
    await settle();
    expect(fatal).toMatchObject([{ code }]);
    expect(received).toMatchObject([{ id: 1, error: { code: code === 'forbidden' ? 403 : 401 } }]);
    expect(clock.pendingTimers).toBe(0);
  });

  it('tries to connect for as long as allowed', async () => {
    const { bridge, remote, clock, fatal } = bridgeInMemory();
    remote.open = async () => Promise.reject(new RpcError('unavailable', 'down'));
    bridge.start();
    await clock.advance(9_999);
    expect(remote.opened).toBeGreaterThan(3);
    expect(fatal).toEqual([]);
    await clock.advance(1);
    expect(fatal).toMatchObject([{ code: 'unavailable' }]);
    expect(clock.pendingTimers).toBe(0);
  });
});

describe('where every message stands for itself', () => {
  it.each<[outcome: Outcome, method: string, then: string | number]>([
    ['not-started', 'tools/call', 'sent'],
    ['unknown', 'tools/list', 'sent'],
    ['unknown', 'tools/call', 504],
    ['refused', 'tools/list', 413],
  ])('a request that failed as %s, %s: %s', async (outcome, method, then) => {
    const { bridge, remote, clock, received } = await connected({ connectionBound: false });
    await bridge.fromHost(call(1, method));
    await bridge.fromHost(call(2));
    remote.take();
    remote.events.failed(1, outcome, new RpcError('payload_too_large', 'no'));
    remote.events.lost({ error: new RpcError('unavailable', 'no'), inFlight: 'separate', session: false });
    await clock.advance(1_000);
    expect(remote.take()).toEqual(then === 'sent' ? [call(1, method)] : []);
    remote.answer(2);
    expect(received).toMatchObject([...(then === 'sent' ? [] : [{ id: 1, error: { code: then } }]), { id: 2, result: {} }]);
  });

  it('credentials refused before any answer are the end, later they are an answer', async () => {
    const { bridge, remote, received, fatal } = await connected({ connectionBound: false });
    const refused = new RpcError('unauthenticated', 'no');
    await bridge.fromHost(call(1));
    remote.answer(1);
    await bridge.fromHost(call(2));
    remote.events.failed(2, 'refused', refused);
    expect(received).toMatchObject([{ id: 1 }, { id: 2, error: { code: 401 } }]);
    expect(fatal).toEqual([]);
    const other = await connected({ connectionBound: false });
    await other.bridge.fromHost(call(1));
    other.remote.events.failed(1, 'refused', refused);
    expect(other.fatal).toEqual([refused]);
  });
});

it('closes once, with an answer to everything', async () => {
  const { bridge, remote, clock, received } = await connected();
  await bridge.fromHost(call(1));
  await bridge.fromHost(call(2, 'tools/list'));
  await bridge.close();
  await bridge.close();
  expect(received).toMatchObject([
    { id: 1, error: { code: 504 } },
    { id: 2, error: { code: 503 } },
  ]);
  expect(remote.closed).toBe(1);
  await bridge.fromHost(call(3));
  remote.events.lost(BROKEN);
  await clock.advance(60_000);
  expect(remote.opened).toBe(1);
  expect(clock.pendingTimers).toBe(0);
});
