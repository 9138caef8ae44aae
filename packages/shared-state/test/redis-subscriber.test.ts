import type { AddressInfo } from 'node:net';
import { createServer, type Socket } from 'node:net';
import { expect, it } from 'vitest';
import { RedisStateStore } from '../src/redis.js';

/** As much of Redis as a subscriber talks to (RESP 2). `onSubscribe` gets each connection's number, from 1. */
async function fakeRedis(onSubscribe: (connection: number, socket: Socket, channel: string) => void) {
  let connections = 0;
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    const connection = (connections += 1);
    sockets.add(socket);
    socket.on('error', () => {});
    socket.once('close', () => sockets.delete(socket));
    socket.on('data', (data) => {
      for (const [, command = '', channel = ''] of data.toString().matchAll(/\*\d+\r\n\$\d+\r\n(\w+)(?:\r\n\$\d+\r\n([^\r*]*))?/g)) {
        if (command.toLowerCase() === 'subscribe') onSubscribe(connection, socket, channel);
        else if (command.toLowerCase() === 'info') socket.write('$11\r\nloading:0\r\n\r\n');
        else if (command === 'hello') socket.write('-NOPROTO unsupported protocol version\r\n');
        else socket.write('+OK\r\n');
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `redis://127.0.0.1:${(server.address() as AddressInfo).port}`,
    cut: () => {
      for (const socket of sockets) socket.destroy();
    },
    async close() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function bulk(text: string): string {
  return `$${Buffer.byteLength(text)}\r\n${text}\r\n`;
}

it.each(['is lost', 'is not answered'])('a subscription that %s while it is made anew is made again, and harms nobody', async (trouble) => {
  const received: unknown[] = [];
  let onMessage = () => {};
  const redis = await fakeRedis((connection, socket, channel) => {
    if (connection === 2) {
      if (trouble === 'is lost') socket.destroy();
      return;
    }
    socket.write(`*3\r\n${bulk('subscribe')}${bulk(channel)}:1\r\n`);
    if (connection > 2) socket.write(`*3\r\n${bulk('message')}${bulk(channel)}${bulk('"again"')}`);
  });
  const store = new RedisStateStore({ url: redis.url, timeoutMs: 3_000 });
  try {
    const again = new Promise<void>((resolve) => (onMessage = resolve));
    await store.subscribe('news', (message) => {
      received.push(message);
      onMessage();
    });
    redis.cut();
    await again;
    expect(received[0]).toBe('again');
  } finally {
    await store.close();
    await redis.close();
  }
});
