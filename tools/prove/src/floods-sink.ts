/** What attacks of `prove:floods` hit to see what they cost by themselves: a port that agrees to everything and reads it. */
import { createServer } from 'node:net';
import type { Ports } from './floods-setting.ts';

/** Whoever sends more is cut, as a server would at some time. */
const MAX_BYTES = 65_536;

const ANSWER = 'HTTP/1.1 101 Switching Protocols\r\n\r\n';

const server = createServer((socket) => {
  let received = 0;
  let isOpen = false;
  socket.on('error', () => {});
  socket.on('data', (bytes) => {
    // An answer to each piece, for whoever waits for one.
    if (isOpen) socket.write('.');
    else if (bytes.includes('\r\n\r\n')) {
      isOpen = true;
      socket.write(ANSWER);
    }
    received += bytes.length;
    if (received > MAX_BYTES) socket.destroy();
  });
});
process.once('disconnect', () => process.exit());
server.listen(0, '127.0.0.1', () => {
  const { port } = server.address() as { port: number };
  process.send?.({ ws: port, wss: port, noise: port } satisfies Ports);
});
