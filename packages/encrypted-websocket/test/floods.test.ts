import { once } from 'node:events';
import { connect } from 'node:net';
import { ManualClock } from '@mcp-blocks/core/testing';
import { expect, it } from 'vitest';
import { cleanup, listening, modernRequest, openRaw, testHost, toolService, until } from './support.js';

const PATIENCE = { timeout: 60_000 };

/** A TCP connection to the port of a listener. */
async function dial(url: string) {
  const socket = connect(Number(new URL(url).port), '127.0.0.1');
  cleanup(async () => socket.destroy());
  socket.on('error', () => {});
  await once(socket, 'connect');
  return socket;
}

it('who has many requests at once takes turns with others', PATIENCE, async () => {
  const handled: string[] = [];
  const { service } = toolService();
  const host = testHost({
    maxInFlight: 1000,
    service: {
      ...service,
      handler: async ({ params }) => {
        handled.push(String(params.name));
        const startedAt = performance.now();
        while (performance.now() - startedAt < 0.5);
        return { content: [] };
      },
    },
  });
  const { url } = await listening(host);
  const greedy = await openRaw(url);
  const other = await openRaw(url, 'bob-token');
  const burst = 150;
  for (let id = 1; id <= burst; id += 1) greedy.socket.send(modernRequest(id, 'tools/call', { name: 'greedy', arguments: {} }));
  for (let id = 1; handled.filter((name) => name === 'greedy').length < burst; id += 1) {
    other.socket.send(modernRequest(id, 'tools/call', { name: 'other', arguments: {} }));
    expect(await other.next()).toMatchObject({ id });
  }
  expect(handled.lastIndexOf('greedy') + 1 - burst).toBeGreaterThan(10);
  await until(() => greedy.messages.length === burst);
  expect(greedy.messages.map(({ id }) => id)).toEqual(Array.from({ length: burst }, (_, at) => at + 1));
});

it('who hangs up while requests wait is gone, and the others are served', PATIENCE, async () => {
  const host = testHost({ maxInFlight: 1000 });
  const { url } = await listening(host);
  const greedy = await openRaw(url);
  for (let id = 1; id <= 500; id += 1) greedy.socket.send(modernRequest(id, 'tools/call', { name: 'echo', arguments: {} }));
  greedy.socket.close();
  await until(() => host.active.count === 0);
  const other = await openRaw(url, 'bob-token');
  other.socket.send(modernRequest(1, 'tools/list'));
  expect(await other.next()).toMatchObject({ id: 1 });
});

it('who has sent too large a message and goes on is read little of, until it is cut', PATIENCE, async () => {
  const clock = new ManualClock();
  const host = testHost({ clock });
  const { url } = await listening(host);
  const { socket, closed } = await openRaw(url);
  const raw = (socket as unknown as { _socket: import('node:net').Socket })._socket;
  const other = await openRaw(url, 'bob-token');
  raw.write(Buffer.from('82ff0000010000000000000000ff', 'hex'));
  raw.write(Buffer.alloc(64 * 1_048_576));
  for (let id = 1; id <= 40; id += 1) {
    await clock.advance(100);
    for (const part of [1, 2, 3, 4, 5]) {
      other.socket.send(modernRequest(10 * id + part, 'tools/list'));
      await other.next();
    }
  }
  expect(raw.writableLength).toBeGreaterThan(0);
  await until(() => {
    void clock.advance(1000);
    return host.active.count === 1;
  });
  expect([1006, 1009]).toContain(await closed);
  expect(host.audited).toMatchObject([{ type: 'ws.closed', reason: 'message too big' }]);
});

it('sockets that ask for nothing are cut handshakeTimeoutMs after each has come', PATIENCE, async () => {
  const clock = new ManualClock();
  const { url } = await listening(testHost({ clock }), { handshakeTimeoutMs: 1000 });
  const first = await dial(url);
  // Sockets are accepted in order: once this one is served, the first has come.
  await openRaw(url);
  await clock.advance(400);
  const second = await dial(url);
  second.write('GET /ws HTTP/1.1\r\n');
  await openRaw(url);
  const ended = [first, second].map((socket) => once(socket, 'close'));
  await clock.advance(600);
  await ended[0];
  const third = await openRaw(url);
  third.socket.send(modernRequest(1, 'tools/list'));
  await third.next();
  expect(second.destroyed).toBe(false);
  await clock.advance(400);
  await ended[1];
});
