import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/** Everything that passed a {@link tap}. */
export interface Captured {
  /** The bytes of both directions as they came by. */
  readonly raw: Buffer;
  /** The HTTP messages that began them. */
  readonly heads: string;
  /** What the WebSocket frames among them carried, unmasked: browsers mask what they send. */
  readonly payloads: Buffer;
}

/** A TCP relay on a free port that keeps a copy of what passes. */
export interface Tap {
  readonly port: number;
  /** Forgets what was captured; what comes from now on goes to `port` of this machine. */
  connectTo(port: number): void;
  captured(): Captured;
  close(): Promise<void>;
}

export async function startTap(): Promise<Tap> {
  const sockets = new Set<Socket>();
  let directions: Buffer[][] = [];
  let target = 0;
  const relay = (from: Socket, to: Socket) => {
    const bytes: Buffer[] = [];
    directions.push(bytes);
    sockets.add(from);
    from.on('data', (chunk) => bytes.push(chunk));
    from.on('error', () => to.destroy());
    from.on('close', () => sockets.delete(from));
    from.pipe(to);
  };
  const server = createServer((client) => {
    const upstream = connect(target, '127.0.0.1');
    relay(client, upstream);
    relay(upstream, client);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    connectTo: (port) => {
      target = port;
      directions = [];
    },
    captured: () => {
      const streams = directions.map((chunks) => Buffer.concat(chunks));
      return {
        raw: Buffer.concat(streams),
        heads: streams.map((stream) => stream.subarray(0, headBytes(stream)).toString('latin1')).join(''),
        payloads: Buffer.concat(streams.flatMap(payloadsOf)),
      };
    },
    close: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function headBytes(stream: Buffer): number {
  const end = stream.indexOf('\r\n\r\n');
  return end < 0 ? stream.length : end + 4;
}

/** The payloads of one direction of a WebSocket connection, in order (RFC 6455, section 5.2). */
function payloadsOf(stream: Buffer): Buffer[] {
  const payloads: Buffer[] = [];
  let at = headBytes(stream);
  while (at + 2 <= stream.length) {
    const size = stream[at + 1]! & 0x7f;
    const isMasked = stream[at + 1]! >= 0x80;
    const mask = at + 2 + (size === 126 ? 2 : size === 127 ? 8 : 0);
    const length = size === 126 ? stream.readUInt16BE(at + 2) : size === 127 ? Number(stream.readBigUInt64BE(at + 2)) : size;
    const start = mask + (isMasked ? 4 : 0);
    const payload = Buffer.from(stream.subarray(start, start + length));
    if (isMasked) for (let i = 0; i < payload.length; i += 1) payload[i]! ^= stream[mask + (i & 3)]!;
    payloads.push(payload);
    at = start + length;
  }
  return payloads;
}
