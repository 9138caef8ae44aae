import { connect as connectTcp, type Socket } from 'node:net';
import type { Clock } from '@mcp-blocks/core';
import { ManualClock, settle, testPrincipal } from '@mcp-blocks/core/testing';
import { describe, expect, it } from 'vitest';
import { WebSocketServer } from 'ws';
import { CLOSE_CODES, WebSocketClientTransport } from '../src/index.js';
import { cleanup, deferred, listening, modernRequest, openRaw, testHost, toolService, until } from './support.js';

const INTERVAL_MS = 30_000;
const LIMIT_MS = 40_000;

/** A peer that shakes hands and then never says anything: what is left of a laptop whose lid was shut. */
async function halfOpenPeer(url: string): Promise<Socket> {
  const { port, pathname } = new URL(url);
  const socket = connectTcp(Number(port), '127.0.0.1');
  cleanup(async () => socket.destroy());
  const lines = [
    `GET ${pathname} HTTP/1.1`,
    `Host: 127.0.0.1:${port}`,
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    'Sec-WebSocket-Protocol: mcp',
    'Authorization: Bearer alice-token',
    '',
    '',
  ];
  socket.write(lines.join('\r\n'));
  await new Promise((resolve) => socket.once('data', resolve));
  return socket;
}

describe('the heartbeat of the server', () => {
  it('notices a half-open peer after interval and timeout, and not before', async () => {
    const clock = new ManualClock();
    const host = testHost();
    const { url } = await listening(host, { clock });
    const socket = await halfOpenPeer(url);
    const received: Buffer[] = [];
    socket.on('data', (data) => received.push(data));
    const ended = new Promise((resolve) => socket.once('close', resolve));
    await clock.advance(LIMIT_MS - 1);
    expect(host.active.count).toBe(1);
    await clock.advance(1);
    await ended;
    expect(host.active.count).toBe(0);
    expect(clock.pendingTimers).toBe(0);
    const frames = Buffer.concat(received);
    expect([...frames.subarray(0, 2)]).toEqual([0x89, 0]);
    expect(frames[2]).toBe(0x88);
    expect(frames.readUInt16BE(4)).toBe(CLOSE_CODES.heartbeatTimeout);
  });

  it('leaves a peer alone that answers', async () => {
    const clock = new ManualClock();
    const host = testHost();
    const { url } = await listening(host, { clock });
    const { socket, next } = await openRaw(url);
    for (let round = 1; round <= 5; round += 1) {
      const pinged = new Promise((resolve) => socket.once('ping', resolve));
      await clock.advance(INTERVAL_MS);
      await pinged;
      // The answer to a request comes after the pong has been read.
      socket.send(modernRequest(round, 'tools/list'));
      expect(await next()).toMatchObject({ id: round });
    }
    expect(host.active.count).toBe(1);
  });

  it('takes the bytes of an unfinished message as a sign of life', async () => {
    const clock = new ManualClock();
    const { url, listener } = await listening(testHost(), { clock });
    const socket = await halfOpenPeer(url);
    await clock.advance(LIMIT_MS - 1);
    // The first bytes of a long masked text frame.
    socket.write(Buffer.from([0x81, 0xfe, 0x10, 0x00, 0, 0, 0, 0, 0x7b]));
    const other = await openRaw(url);
    other.socket.send(modernRequest(1, 'tools/list'));
    await other.next();
    await clock.advance(1);
    expect(listener.metrics().activeConnections).toBe(2);
  });

  it('does not blame a peer for silence while the server itself has stopped reading', async () => {
    const clock = new ManualClock();
    const tools = toolService();
    const host = testHost({ service: tools.service, maxInFlight: 1 });
    const { url } = await listening(host, { clock });
    const { socket, messages } = await openRaw(url);
    const total = 66;
    for (let id = 1; id <= total; id += 1) {
      // More than fits into the buffers of a socket that is not read from, so that pongs are stuck behind it.
      socket.send(modernRequest(id, 'tools/call', { name: id === 1 ? 'hold' : 'echo', arguments: { pad: 'x'.repeat(32_000) } }));
    }
    await tools.started;
    for (let turn = 0; turn < 50; turn += 1) await settle();
    await clock.advance(10 * LIMIT_MS);
    expect(host.active.count).toBe(1);
    tools.release();
    await until(() => messages.length === total);
    expect(messages.map(({ id }) => id)).toEqual(Array.from({ length: total }, (_, n) => n + 1));
  });
});

describe('the heartbeat of the client', () => {
  it('notices a server that is gone', async () => {
    const clock = new ManualClock();
    const server = new WebSocketServer({ port: 0, host: '127.0.0.1', autoPong: false, handleProtocols: () => 'mcp' });
    cleanup(() => new Promise((resolve) => server.close(resolve)));
    await new Promise((resolve) => server.once('listening', resolve));
    const { port } = server.address() as { port: number };
    const transport = new WebSocketClientTransport(`ws://127.0.0.1:${port}/ws`, { clock });
    const closed = deferred();
    const errors: Error[] = [];
    transport.onclose = () => closed.resolve();
    transport.onerror = (error) => errors.push(error);
    await transport.start();
    await clock.advance(LIMIT_MS - 1);
    expect(transport.closeCode).toBeUndefined();
    await clock.advance(1);
    await closed.promise;
    expect(transport.closeCode).toBe(CLOSE_CODES.heartbeatTimeout);
    expect(transport.closeError).toMatchObject({ code: 'unavailable', data: { closeCode: 4408 } });
    expect(errors).toMatchObject([{ code: 'unavailable' }]);
    expect(clock.pendingTimers).toBe(0);
  });
});

describe('a credential that expires', () => {
  it('ends the open connection with 4401, and the handler hears of it', async () => {
    const clock = new ManualClock();
    const tools = toolService();
    const host = testHost({ service: tools.service, authenticate: async () => testPrincipal({ expiresAt: clock.now() + 10_000 }) });
    const { url } = await listening(host, { clock });
    const transport = new WebSocketClientTransport(url, { token: 'alice-token' });
    const closed = deferred();
    transport.onclose = () => closed.resolve();
    await transport.start();
    await transport.send(JSON.parse(modernRequest(1, 'tools/call', { name: 'hold' })));
    await tools.started;
    await clock.advance(9_999);
    expect(transport.closeCode).toBeUndefined();
    await clock.advance(1);
    await closed.promise;
    await tools.aborted;
    expect(transport.closeCode).toBe(CLOSE_CODES.unauthenticated);
    expect(transport.closeError?.code).toBe('unauthenticated');
    await until(() => host.active.count === 0);
    expect(host.audited).toMatchObject([{ type: 'ws.closed', actor: 'alice', reason: 'credential expired' }]);
    expect(clock.pendingTimers).toBe(0);
  });

  it('is waited for in steps that a timer can hold', async () => {
    const manual = new ManualClock();
    const delays: number[] = [];
    const clock: Clock = {
      now: () => manual.now(),
      setTimeout: (callback, delayMs) => {
        delays.push(delayMs);
        return manual.setTimeout(callback, delayMs);
      },
    };
    const lifetimeMs = 60 * 24 * 3_600_000;
    const host = testHost({ authenticate: async () => testPrincipal({ expiresAt: manual.now() + lifetimeMs }) });
    const { url } = await listening(host, { clock, heartbeatIntervalMs: 2 ** 31 - 1, heartbeatTimeoutMs: 2 ** 31 - 1 });
    const { closed } = await openRaw(url);
    await manual.advance(lifetimeMs - 1);
    expect(host.active.count).toBe(1);
    await manual.advance(1);
    expect(await closed).toBe(CLOSE_CODES.unauthenticated);
    expect(Math.max(...delays)).toBeLessThan(2 ** 31);
  });
});

describe('a peer that reads slowly', () => {
  const CHARACTERS = 16 * 1024 * 1024;

  async function stuckPeer() {
    const clock = new ManualClock();
    const tools = toolService();
    const host = testHost({ service: tools.service });
    const { url, listener } = await listening(host, { clock, maxBufferedBytes: 1_024 });
    const peer = await openRaw(url);
    peer.socket.pause();
    peer.socket.send(modernRequest(1, 'tools/call', { name: 'blob', arguments: { value: CHARACTERS } }));
    await until(() => listener.metrics().messagesOut === 1);
    return { clock, tools, host, peer };
  }

  it('is not read from until it reads', async () => {
    const { clock, tools, host, peer } = await stuckPeer();
    peer.socket.send(modernRequest(2, 'tools/call', { name: 'echo' }));
    for (let turn = 0; turn < 50; turn += 1) await settle();
    expect(tools.calls).toEqual(['blob']);
    await clock.advance(29_999);
    peer.socket.resume();
    expect(await peer.next()).toMatchObject({ id: 1 });
    expect(await peer.next()).toMatchObject({ id: 2 });
    expect(host.audited).toEqual([]);
    expect(host.active.count).toBe(1);
  });

  it('is closed with 4413 when it stays stuck', async () => {
    const { clock, host, peer } = await stuckPeer();
    await clock.advance(30_000);
    peer.socket.resume();
    expect(await peer.closed).toBe(CLOSE_CODES.slowReader);
    await until(() => host.active.count === 0);
    expect(host.audited).toMatchObject([{ type: 'ws.closed', reason: 'slow reader' }]);
    expect(clock.pendingTimers).toBe(0);
  });

  it('is cut when it does not even read the close frame', async () => {
    const { clock, host } = await stuckPeer();
    await clock.advance(35_000);
    await until(() => host.active.count === 0);
    expect(clock.pendingTimers).toBe(0);
  });
});
