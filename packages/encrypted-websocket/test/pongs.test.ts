import { expect, it } from 'vitest';
import { deferred, listening, openRaw } from './support.js';

it('answers pings with what they hold', async () => {
  const { url } = await listening();
  const { socket } = await openRaw(url);
  const pong = deferred<string>();
  socket.once('pong', (data) => pong.resolve(String(data)));
  socket.ping('here');
  expect(await pong.promise).toBe('here');
});

it('keeps no pongs for a client that does not read them, and still owes it the last', { timeout: 60_000 }, async () => {
  const { url } = await listening();
  const { socket } = await openRaw(url);
  const pings = 200_000;
  socket.pause();
  for (let sent = 0; sent < pings; sent += 1000) {
    // As long as the server reads, whatever it owes.
    await new Promise<void>((resolve) => {
      for (let n = 0; n < 999; n += 1) socket.ping(Buffer.alloc(125));
      socket.ping(Buffer.alloc(125), true, () => resolve());
    });
  }
  const last = deferred();
  let pongs = 0;
  socket.on('pong', (data) => {
    pongs += 1;
    if (String(data) === 'last') last.resolve();
  });
  const written = deferred();
  socket.ping('last', true, () => written.resolve());
  await written.promise;
  socket.resume();
  await last.promise;
  expect(pongs).toBeLessThan((3 * pings) / 4);
});

it('ends a message in too many fragments', async () => {
  const { url } = await listening();
  const { socket, closed } = await openRaw(url);
  for (let n = 0; n <= 4096; n += 1) socket.send(' ', { fin: false });
  expect(await closed).toBe(1008);
});

it('takes a message in as many fragments as there may be', async () => {
  const { url } = await listening();
  const { socket, next } = await openRaw(url);
  for (let n = 1; n < 4096; n += 1) socket.send(' ', { fin: false });
  socket.send('{}', { fin: true });
  expect((await next()).error?.code).toBe(-32600);
});
