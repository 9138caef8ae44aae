import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

/** A connection to a port of this machine; what it receives is dropped. */
export function dial(port: number): Socket {
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => {});
  socket.on('data', () => {});
  return socket;
}

/** The request that asks for a WebSocket. */
export function upgradeRequest(port: number, protocol = 'mcp', deflate = false): string {
  return [
    'GET /ws HTTP/1.1',
    `Host: 127.0.0.1:${port}`,
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==',
    `Sec-WebSocket-Protocol: ${protocol}`,
    ...(deflate ? ['Sec-WebSocket-Extensions: permessage-deflate'] : []),
    '',
    '',
  ].join('\r\n');
}

/** An open WebSocket as its bytes; undefined where the server would have none. */
export async function openRaw(port: number, protocol?: string, deflate?: boolean): Promise<Socket | undefined> {
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => {});
  socket.write(upgradeRequest(port, protocol, deflate));
  const [answer] = (await Promise.race([once(socket, 'data'), once(socket, 'close').then(() => [])]).catch(() => [])) as [Buffer?];
  if (answer?.includes(' 101 ')) return socket;
  socket.destroy();
  return undefined;
}

/** How a frame begins. */
export interface FrameHead {
  readonly opcode: number;
  readonly fin?: boolean;
  readonly compressed?: boolean;
  /** What the frame says that it holds, where that is not true. */
  readonly claimedBytes?: number;
}

/** A frame of a client (RFC 6455, section 5.2), masked with zeros. */
export function frame({ opcode, fin = true, compressed = false, claimedBytes }: FrameHead, payload: Buffer = Buffer.alloc(0)): Buffer {
  const length = claimedBytes ?? payload.length;
  const extended = length < 126 ? 0 : length < 65_536 ? 2 : 8;
  const head = Buffer.alloc(2 + extended + 4);
  head[0] = (fin ? 0x80 : 0) | (compressed ? 0x40 : 0) | opcode;
  head[1] = 0x80 | (extended === 0 ? length : extended === 2 ? 126 : 127);
  if (extended === 2) head.writeUInt16BE(length, 2);
  if (extended === 8) head.writeBigUInt64BE(BigInt(length), 2);
  return Buffer.concat([head, payload]);
}
