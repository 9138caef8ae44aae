import { setMaxListeners } from 'node:events';
import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { deflateRawSync } from 'node:zlib';
import { NOISE_PROTOCOL, type Ports } from './floods-setting.ts';
import { dial, frame, openRaw, upgradeRequest } from './floods-wire.ts';

/** What an attack works with. */
export interface Target {
  readonly ports: Ports;
  /** Sockets of the largest attack; the others have shares of it. */
  readonly sockets: number;
  /** Attacks go on until then. */
  readonly until: number;
}

/** Attacks, each in words and as what it does; it ends by itself when its time is over. */
export const ATTACKS = {
  'half-open sockets': halfOpen,
  'slow handshakes': slowHandshakes,
  'unfinished Noise handshakes': unfinishedNoise,
  'deflate bombs': deflateBombs,
  'a million fragments': fragments,
  'endless messages': endless,
  'oversize frames': oversize,
  'pings, pongs unread': pings,
  'pings, pongs read': pingsRead,
  'slow readers': slowReaders,
} as const satisfies Record<string, (target: Target) => Promise<void>>;

export type AttackName = keyof typeof ATTACKS;

const TEXT = 1;
const CONTINUATION = 0;
const PING = 9;
const MIB = 1_048_576;

/** Sockets a second: what takes a server's time by asking for it often is another matter, that of rate limits. */
const PER_SECOND = 2000;

const rest = (until: number) => sleep(Math.max(0, until - Date.now()));

async function openAtRate(count: number, until: number, open: (at: number) => void): Promise<void> {
  const startedAt = Date.now();
  for (let at = 0; at < count && Date.now() < until; at += 1) {
    open(at);
    const aheadMs = (1000 * at) / PER_SECOND - (Date.now() - startedAt);
    if (aheadMs > 5) await sleep(aheadMs);
  }
}

/** A third of them on each port, every other one with the first line of a request. */
async function halfOpen({ ports, sockets, until }: Target): Promise<void> {
  const all = Object.values(ports) as number[];
  await openAtRate(sockets, until, (at) => {
    const socket = dial(all[at % 3] as number);
    if (at % 2 === 0) socket.write('GET /ws HTTP/1.1\r\n');
  });
  await rest(until);
}

/** A ClientHello of TLS 1.2, as far as its first bytes: its record never ends. */
const CLIENT_HELLO = Buffer.from(`16030101fe010001fa0303${'00'.repeat(500)}`, 'hex');

/** Requests and TLS handshakes, one byte at a time. */
async function slowHandshakes({ ports, sockets, until }: Target): Promise<void> {
  const open: { socket: Socket; bytes: Buffer }[] = [];
  await openAtRate(Math.ceil(sockets / 5), until, (at) => {
    const port = [ports.ws, ports.wss, ports.noise][at % 3] as number;
    open.push({ socket: dial(port), bytes: port === ports.wss ? CLIENT_HELLO : Buffer.from(upgradeRequest(port)) });
  });
  for (let at = 0; Date.now() < until; at += 1) {
    for (const { socket, bytes } of open) if (at < bytes.length - 1 && socket.writable) socket.write(bytes.subarray(at, at + 1));
    await sleep(100);
  }
}

/** Upgraded, and then nothing, or half a frame. */
async function unfinishedNoise({ ports, sockets, until }: Target): Promise<void> {
  const opening: Promise<unknown>[] = [];
  await openAtRate(Math.ceil(sockets / 5), until, (at) => {
    const opened = openRaw(ports.noise, `mcp.${NOISE_PROTOCOL}`).then((socket) => {
      socket?.on('data', () => {});
      if (at % 2 === 0) socket?.write(frame({ opcode: 2, claimedBytes: 48 }, Buffer.alloc(20)));
    });
    opening.push(opened);
  });
  await Promise.race([Promise.all(opening), rest(until)]);
  await rest(until);
}

/** Connection after connection, some at a time, each for something that the server has to end. */
async function again(
  port: number,
  atATime: number,
  until: number,
  attack: (socket: Socket) => Promise<void>,
  deflate = false,
): Promise<void> {
  const lane = async () => {
    while (Date.now() < until) {
      const socket = await openRaw(port, 'mcp', deflate);
      if (socket !== undefined) {
        setMaxListeners(0, socket);
        socket.on('data', () => {});
        await Promise.race([attack(socket), rest(until)]);
        socket.destroy();
      }
      await sleep(50);
    }
  };
  await Promise.all(Array.from({ length: atATime }, lane));
}

/** What is to be written, unless the server ends it; resolves true while it may go on. */
async function push(socket: Socket, bytes: Buffer): Promise<boolean> {
  if (!socket.writable) return false;
  if (socket.write(bytes)) return true;
  await new Promise<void>((resolve) => {
    socket.once('drain', resolve);
    socket.once('close', () => resolve());
  });
  return socket.writable;
}

const heard = (socket: Socket) => new Promise<void>((resolve) => void socket.once('data', () => resolve()));
const ended = (socket: Socket) => new Promise<void>((resolve) => (socket.destroyed ? resolve() : socket.once('close', () => resolve())));

/** 256 MiB of zeros in 256 KiB. */
async function deflateBombs({ ports, until }: Target): Promise<void> {
  const bomb = frame({ opcode: TEXT, compressed: true }, deflateRawSync(Buffer.alloc(256 * MIB), { level: 9 }));
  await again(ports.ws, 4, until, async (socket) => void ((await push(socket, bomb)) && (await ended(socket))), true);
}

async function fragments({ ports, until }: Target): Promise<void> {
  const first = frame({ opcode: TEXT, fin: false }, Buffer.from('x'));
  const thousand = Buffer.concat(Array.from({ length: 1000 }, () => frame({ opcode: CONTINUATION, fin: false }, Buffer.from('x'))));
  await again(ports.ws, 2, until, async (socket) => {
    let more = await push(socket, first);
    for (let sent = 0; more && sent < 1_000_000; sent += 1000) more = await push(socket, thousand);
  });
}

async function endless({ ports, until }: Target): Promise<void> {
  const first = frame({ opcode: TEXT, fin: false }, Buffer.alloc(65_536, 'x'));
  const next = frame({ opcode: CONTINUATION, fin: false }, Buffer.alloc(65_536, 'x'));
  await again(ports.ws, 2, until, async (socket) => {
    let more = await push(socket, first);
    while (more && Date.now() < until) more = await push(socket, next);
  });
}

async function oversize({ ports, until }: Target): Promise<void> {
  const huge = frame({ opcode: TEXT, claimedBytes: 2 ** 40 }, Buffer.alloc(1000, 'x'));
  await again(ports.ws, 8, until, async (socket) => void ((await push(socket, huge)) && (await ended(socket))));
}

/** Each ping asks for as many bytes back, which nobody reads. */
async function pings({ ports, until }: Target): Promise<void> {
  const many = Buffer.concat(Array.from({ length: 500 }, () => frame({ opcode: PING }, Buffer.alloc(125, 'p'))));
  await again(ports.ws, 4, until, async (socket) => {
    socket.pause();
    while ((await push(socket, many)) && Date.now() < until);
  });
}

/** As many as are answered, and read. */
async function pingsRead({ ports, until }: Target): Promise<void> {
  const some = Buffer.concat(Array.from({ length: 50 }, () => frame({ opcode: PING }, Buffer.from('p'))));
  await again(ports.ws, 4, until, async (socket) => {
    while ((await push(socket, some)) && Date.now() < until) await Promise.race([heard(socket), ended(socket)]);
  });
}

/** Calls on each of the connections of slow readers. */
export const ANSWERS_UNREAD = 32;

export function slowReadersOf(sockets: number): number {
  return Math.max(4, Math.ceil(sockets / 500));
}

/** Calls whose answers nobody reads. */
async function slowReaders({ ports, sockets, until }: Target): Promise<void> {
  const request = (id: number, method: string, params: object) =>
    frame({ opcode: TEXT }, Buffer.from(JSON.stringify({ jsonrpc: '2.0', id, method, params })));
  const initialize = { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'slow', version: '1' } };
  const calls = Array.from({ length: ANSWERS_UNREAD }, (_, at) => request(at + 2, 'tools/call', { name: 'long', arguments: {} }));
  const lanes = Array.from({ length: slowReadersOf(sockets) }, async () => {
    while (Date.now() < until) {
      const socket = await openRaw(ports.ws);
      if (socket === undefined) break;
      socket.pause();
      socket.write(request(1, 'initialize', initialize));
      for (const call of calls) if (socket.writable) socket.write(call);
      await Promise.race([ended(socket), rest(until)]);
      socket.destroy();
      await sleep(100);
    }
  });
  await Promise.all(lanes);
}
