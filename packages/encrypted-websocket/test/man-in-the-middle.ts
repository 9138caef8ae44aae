import type { AddressInfo } from 'node:net';
import { WebSocket, WebSocketServer } from 'ws';
import { cleanup } from './support.js';

/** What a proxy does with a frame. */
export type Meddle = (frame: Buffer, pass: (frame: Buffer) => void, isBinary: boolean) => void;

/** A WebSocket proxy that sees every frame, as one that ends TLS does, and may do with it what it likes. */
export async function manInTheMiddle(target: string, meddle: { toServer?: Meddle; toClient?: Meddle } = {}) {
  const server = new WebSocketServer({
    port: 0,
    host: '127.0.0.1',
    perMessageDeflate: false,
    handleProtocols: ([first]) => first ?? false,
  });
  const seen: Buffer[] = [];
  const requests: string[] = [];
  const pairs: { client: WebSocket; upstream: WebSocket }[] = [];
  cleanup(async () => {
    for (const { client, upstream } of pairs) {
      client.terminate();
      upstream.terminate();
    }
    await new Promise((resolve) => server.close(resolve));
  });
  server.on('connection', (client, request) => {
    requests.push(JSON.stringify([request.url, request.rawHeaders]));
    const upstream = new WebSocket(target, client.protocol, { perMessageDeflate: false });
    pairs.push({ client, upstream });
    const join = (from: WebSocket, to: WebSocket, act: Meddle | undefined, whenOpen: (send: () => void) => void) => {
      from.on('message', (data: Buffer, isBinary) => {
        seen.push(data);
        const pass = (frame: Buffer) => whenOpen(() => to.readyState === WebSocket.OPEN && to.send(frame, { binary: isBinary }));
        if (act === undefined) pass(data);
        else act(data, pass, isBinary);
      });
      from.on('error', () => {});
      from.on('close', (code, reason) => (code === 1006 || code === 1005 ? to.terminate() : to.close(code, reason)));
    };
    const queue: (() => void)[] = [];
    upstream.on('open', () => {
      for (const send of queue.splice(0)) send();
    });
    join(client, upstream, meddle.toServer, (send) => (upstream.readyState === WebSocket.CONNECTING ? queue.push(send) : send()));
    join(upstream, client, meddle.toClient, (send) => send());
  });
  await new Promise((resolve) => server.once('listening', resolve));
  const url = `ws://127.0.0.1:${(server.address() as AddressInfo).port}/ws`;
  /** Everything that came by, in the upgrade requests and in frames. */
  const captured = () => Buffer.concat([Buffer.from(requests.join('\n')), ...seen]).toString('latin1');
  return { url, captured, pairs, frames: seen };
}
