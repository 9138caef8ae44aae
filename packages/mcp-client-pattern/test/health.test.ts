import type { JsonObject } from '@mcp-blocks/core';
import { serveChannel } from '@mcp-blocks/core/sdk';
import { ManualClock, testPrincipal } from '@mcp-blocks/core/testing';
import { InMemoryTransport } from '@modelcontextprotocol/server';
import { describe, expect, it } from 'vitest';
import { type MCPClientEvents, MCPClientPattern, sdkConnector } from '../src/index.js';
import { LatencyMeter } from '../src/latency-meter.js';
import { benches, settle, TestService, watch } from './support.js';

const start = benches();

describe.each(['modern', 'legacy'] as const)('health checks (%s)', (versionNegotiation) => {
  const probe = versionNegotiation === 'modern' ? 'server/discover' : 'ping';

  it('replace an idle connection that no longer answers', async () => {
    const { client, clock, webSocket } = start({ healthCheckInterval: 10_000, healthCheckTimeoutMs: 2000, versionNegotiation });
    await client.connect();
    await clock.advance(10_000);
    expect(client.getConnectionStatus().latency, probe).toBe(0);
    webSocket.freeze();
    webSocket.up = false;
    await clock.advance(11_999);
    expect(client.getConnectionStatus().transport).toBe('websocket');
    await clock.advance(1);
    expect(client.getConnectionStatus().transport).toBe('http');
  });

  it('find a dead server within seconds, not by the timeout of the request', async () => {
    const { client, clock, webSocket } = start({ requestTimeout: 60_000, healthCheckInterval: 30_000, versionNegotiation });
    const healths: string[] = [];
    client.on('healthChange', ({ to }) => healths.push(to));
    await client.listTools();
    await clock.advance(29_000);
    webSocket.freeze();
    webSocket.up = false;
    const sentAt = clock.now();
    const calls = ['pay', 'look'].map((name) => watch(client.callTool(name)));
    await settle();
    while (calls.some(({ settled }) => !settled)) await clock.advance(100);
    expect(clock.now() - sentAt).toBeLessThanOrEqual(10_000);
    expect(calls[0]?.error).toMatchObject({ code: 'ambiguous_outcome', reason: 'connection_lost', tool: 'pay' });
    expect(calls[1]?.value, 'sent again over HTTP').toBeDefined();
    expect(client.getConnectionStatus()).toMatchObject({ transport: 'http', health: 'healthy' });
    expect(healths).toEqual(['healthy', 'unhealthy', 'healthy']);
  });

  it('leave a server alone that is busy with a long call and answers probes', async () => {
    const { client, clock, service } = start({ healthCheckInterval: 30_000, requestTimeout: 600_000, versionNegotiation });
    await client.connect();
    service.hold.add('pay');
    const call = watch(client.callTool('pay'));
    await clock.advance(300_000);
    expect(call.settled).toBe(false);
    service.release('pay');
    await settle();
    expect(call.value).toBeDefined();
    expect(client.getMetrics()).toMatchObject({ reconnects: 0 });
  });

  it('take traffic for a sign of life and send no probe of their own', async () => {
    const { client, clock, service } = start({ healthCheckInterval: 10_000, versionNegotiation });
    await client.connect();
    for (let n = 0; n < 10; n += 1) {
      await clock.advance(5000);
      // A notification: nothing else is measured.
      service.events.publish({ kind: 'tools_list_changed' });
      await settle();
    }
    expect(client.getConnectionStatus().latency, 'no round trip').toBeNull();
    await clock.advance(10_000);
    expect(client.getConnectionStatus().latency, probe).toBe(0);
  });
});

it('no connection drops after five idle minutes, through a proxy that ends those either', async () => {
  const IDLE_MS = 300_000;
  async function idleFor(minutes: number, healthCheckInterval: number) {
    const clock = new ManualClock();
    const service = new TestService();
    let drops = 0;
    const client = new MCPClientPattern({
      serverUrl: 'http://127.0.0.1:1',
      clock,
      healthCheckInterval,
      connectors: ({ protocol }) => [
        sdkConnector('proxied', protocol, () => {
          const [clientEnd, serverEnd] = InMemoryTransport.createLinkedPair();
          serveChannel(service, serverEnd, { principal: testPrincipal(), transport: 'proxied' });
          let cancel = () => {};
          const touched = () => {
            cancel();
            cancel = clock.setTimeout(() => {
              drops += 1;
              void serverEnd.close();
            }, IDLE_MS);
          };
          for (const end of [clientEnd, serverEnd]) {
            const { send } = end;
            end.send = (...args) => {
              touched();
              return send.apply(end, args);
            };
          }
          const { onclose } = serverEnd;
          serverEnd.onclose = () => {
            cancel();
            onclose?.();
          };
          return clientEnd;
        }),
      ],
    });
    await client.connect();
    await clock.advance(minutes * 60_000);
    const read = await client.readResource('test://a');
    expect(read.contents).toHaveLength(1);
    const { reconnects } = client.getMetrics();
    await client.close();
    await settle();
    expect(clock.pendingTimers).toBe(0);
    return { drops, reconnects };
  }
  expect(await idleFor(60, 30_000)).toEqual({ drops: 0, reconnects: 0 });
  // The proxy does drop what is idle, and even then the client goes on.
  const unprobed = await idleFor(60, 0);
  expect(unprobed.drops).toBeGreaterThan(5);
  expect(unprobed.reconnects).toBe(unprobed.drops);
});

describe('health', () => {
  it('is degraded while answers are slow, healthy again when they are clearly faster', async () => {
    const { client, clock, service } = start({ degradedLatencyMs: 1000 });
    const changes: MCPClientEvents['healthChange'][] = [];
    client.on('healthChange', (change) => changes.push(change));
    expect(client.getConnectionStatus().health).toBe('unknown');
    const call = async (ms: number) => {
      service.hold.add('look');
      const called = client.callTool('look');
      await clock.advance(ms);
      service.release('look');
      await called;
    };
    await call(900);
    expect(client.getConnectionStatus().health).toBe('healthy');
    await call(2000);
    expect(client.getConnectionStatus().health).toBe('degraded');
    await call(50);
    expect(client.getConnectionStatus(), 'not far enough below').toMatchObject({ health: 'degraded' });
    await call(50);
    expect(client.getConnectionStatus().health).toBe('healthy');
    expect(changes.map(({ from, to }) => `${from} ${to}`)).toEqual(['unknown healthy', 'healthy degraded', 'degraded healthy']);
    expect(changes[1]?.latency).toBeCloseTo(1120);
  });

  it('is unhealthy without a connection, and unknown when closed', async () => {
    const { client, webSocket, http } = start({ enableReconnection: false });
    webSocket.up = false;
    http.up = false;
    await expect(client.connect()).rejects.toThrow();
    expect(client.getConnectionStatus().health).toBe('unhealthy');
    await client.close();
    expect(client.getConnectionStatus().health).toBe('unknown');
  });
});

describe('the latency meter', () => {
  it('knows percentiles within a tenth, of recent answers only, in bounded memory', () => {
    const meter = new LatencyMeter();
    expect(meter.percentiles()).toEqual({ p50: 0, p95: 0, p99: 0 });
    for (let ms = 1; ms <= 999; ms += 1) meter.record(ms);
    const { p50, p95, p99 } = meter.percentiles();
    for (const [found, real] of [
      [p50, 500],
      [p95, 950],
      [p99, 990],
    ] as const)
      expect(Math.abs(found / real - 1)).toBeLessThan(0.1);
    expect(meter.fastest).toBe(1);
    for (let n = 0; n < 2001; n += 1) meter.record(20);
    expect(meter.percentiles().p99).toBeCloseTo(20, -1);
    expect(meter.fastest).toBe(20);
    meter.record(1e12);
    meter.record(-5);
    expect(meter.fastest).toBe(0);
  });
});

it('tells of the transport it moves to', async () => {
  const { client, clock, webSocket } = start();
  const seen: JsonObject[] = [];
  client.on('transportChange', ({ from, to }) => seen.push({ from, to }));
  webSocket.up = false;
  await client.connect();
  webSocket.up = true;
  await clock.advance(60_000);
  await client.reconnect();
  expect(seen).toEqual([
    { from: null, to: 'http' },
    { from: 'http', to: 'websocket' },
  ]);
});
