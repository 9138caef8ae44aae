import { WebSocketClientTransport } from '@mcp-blocks/encrypted-websocket';
import type { JSONRPCMessage } from '@modelcontextprotocol/client';
import { WebSocket } from 'ws';
import { type Kind, NOISE_KEYS, trustedCa } from './kinds.ts';

/** A connection to an echo server. */
export interface Lane {
  /** Prepares messages of so many bytes; `turn` makes each another. What it gives sends one. */
  prepare(bytes: number): (turn: number) => void;
  /** Called with the `turn`, modulo `idsOf`, of each message that came back in full length; NaN for anything else. */
  onEcho: (turn: number) => void;
  close(): Promise<void>;
}

/** Opens a connection, its handshake done. */
export function openLane(kind: Kind, port: number): Promise<Lane> {
  return kind.ours ? openOurs(kind, port) : openPlain(kind, port);
}

const FIRST_ID = 1_000_000;

/** The request, with an id of seven digits and a text that brings it to `bytes`. */
function messageOf(bytes: number, id: number) {
  const empty = { jsonrpc: '2.0' as const, id, method: 'e', params: { t: '' } };
  const room = bytes - JSON.stringify(empty).length;
  return { ...empty, params: { t: 'abcdefghijklmnopqrstuvwxyz012345'.repeat(Math.ceil(room / 32)).slice(0, room) } };
}

/** After how many messages of a size ids begin again. */
export function idsOf(bytes: number): number {
  return bytes > 4096 ? 1 : 4096;
}

const ID_AT = JSON.stringify({ jsonrpc: '2.0', id: FIRST_ID }).indexOf(String(FIRST_ID));

function openPlain(kind: Kind, port: number): Promise<Lane> {
  const socket = new WebSocket(`${kind.tls ? 'wss' : 'ws'}://127.0.0.1:${port}/ws`, {
    perMessageDeflate: false,
    ...(kind.tls ? { ca: trustedCa() } : {}),
  });
  let expected = 0;
  const lane: Lane = {
    prepare(bytes) {
      expected = bytes;
      // Made beforehand, as nothing is to cost time here that is not the connection's.
      const texts = Array.from({ length: idsOf(bytes) }, (_, at) => Buffer.from(JSON.stringify(messageOf(bytes, FIRST_ID + at))));
      return (turn) => socket.send(texts[turn % texts.length] as Buffer, { binary: false });
    },
    onEcho: () => {},
    close: () =>
      new Promise((resolve) => {
        socket.once('close', () => resolve());
        socket.close();
      }),
  };
  return new Promise((resolve, reject) => {
    socket.on('error', reject);
    socket.on('message', (data: Buffer) => {
      // Seven digits, without decoding the rest.
      let id = 0;
      for (let at = ID_AT; at < ID_AT + 7; at += 1) id = 10 * id + (data[at] as number) - 48;
      lane.onEcho(data.length === expected ? id - FIRST_ID : Number.NaN);
    });
    socket.on('open', () => resolve(lane));
  });
}

async function openOurs(kind: Kind, port: number): Promise<Lane> {
  const transport = ourTransport(kind, port);
  let expected = 0;
  const lane: Lane = {
    prepare(bytes) {
      const message = messageOf(bytes, FIRST_ID);
      expected = message.params.t.length;
      const ids = idsOf(bytes);
      return (turn) => void transport.send({ ...message, id: FIRST_ID + (turn % ids) }).catch(() => lane.onEcho(Number.NaN));
    },
    onEcho: () => {},
    close: () => transport.close(),
  };
  transport.onmessage = (message: JSONRPCMessage) => {
    const { id, params } = message as unknown as { id: number; params: { t: string } };
    lane.onEcho(params.t.length === expected ? id - FIRST_ID : Number.NaN);
  };
  transport.onerror = () => lane.onEcho(Number.NaN);
  await transport.start();
  return lane;
}

/** The client's end of this project. */
export function ourTransport({ tls, noise }: Kind, port: number): WebSocketClientTransport {
  return new WebSocketClientTransport(`${tls ? 'wss' : 'ws'}://127.0.0.1:${port}/ws`, {
    ...(tls ? { tls: { ca: trustedCa() } } : {}),
    ...(noise === undefined ? {} : { noise: { protocol: noise, serverPublicKey: NOISE_KEYS.publicKey } }),
  });
}
