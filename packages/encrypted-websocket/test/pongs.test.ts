import { ManualClock } from '@mcp-blocks/core/testing';
import { expect, it } from 'vitest';
import { deferred, listening, modernRequest, openRaw, testHost } from './support.js';

type Raw = Awaited<ReturnType<typeof openRaw>>;

/** Sends pings, some at a time: ws itself ends who lets too many pongs wait. */
async function ping({ socket }: Raw, times: number): Promise<void> {
  for (let sent = 0; sent < times; sent += 10) {
    const answered = deferred();
    const onPong = (data: Buffer) => String(data) === 'last' && answered.resolve();
    socket.on('pong', onPong);
    for (let n = 1; n < 10; n += 1) socket.ping('p');
    socket.ping('last');
    await answered.promise;
    socket.off('pong', onPong);
  }
}

it('a hundred pings within ten seconds are answered, one more ends the connection', async () => {
  const clock = new ManualClock();
  const host = testHost({ clock });
  const { url } = await listening(host);
  const raw = await openRaw(url);
  await ping(raw, 100);
  await clock.advance(10_000);
  await ping(raw, 100);
  raw.socket.send(modernRequest(1, 'tools/list'));
  expect(await raw.next()).toMatchObject({ id: 1 });
  raw.socket.ping('one more');
  expect([1006, 1008]).toContain(await raw.closed);
  await expect
    .poll(() => host.audited.at(-1))
    .toMatchObject({ type: 'ws.closed', reason: 'too many frames', details: { closeCode: 1008 } });
});

it('a message in as many fragments as there may be is taken, one more ends the connection', async () => {
  const { url } = await listening();
  const { socket, next, closed } = await openRaw(url);
  for (let n = 1; n < 256; n += 1) socket.send(' ', { fin: false });
  socket.send('{}', { fin: true });
  expect((await next()).error?.code).toBe(-32600);
  for (let n = 0; n <= 256; n += 1) socket.send(' ', { fin: false });
  expect(await closed).toBe(1008);
});
