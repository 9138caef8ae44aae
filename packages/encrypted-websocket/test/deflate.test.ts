import { connect as connectTcp, type Socket } from 'node:net';
import { constants, deflateRawSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { WebSocketClientTransport as BrowserTransport } from '../src/browser.js';
import { CLOSE_CODES, encryptedWebSocket, WebSocketClientTransport } from '../src/index.js';
import { cleanup, connectV2, listening, modernRequest, openRaw, testHost, until, upgrade } from './support.js';

const bearer = { authorization: 'Bearer alice-token' };
const offer = { ...bearer, 'sec-websocket-extensions': 'permessage-deflate; client_max_window_bits' };
const MIB = 1024 * 1024;

/** A connection by hand whose every byte can be chosen. */
async function openByHand(url: string): Promise<{ socket: Socket; received: Buffer[] }> {
  const { port, pathname } = new URL(url);
  const socket = connectTcp(Number(port), '127.0.0.1');
  cleanup(async () => socket.destroy());
  socket.on('error', () => {});
  const headers = [
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    'Sec-WebSocket-Protocol: mcp',
    'Sec-WebSocket-Extensions: permessage-deflate',
    'Authorization: Bearer alice-token',
  ];
  socket.write(`GET ${pathname} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n${headers.join('\r\n')}\r\n\r\n`);
  await new Promise((resolve) => socket.once('data', resolve));
  const received: Buffer[] = [];
  socket.on('data', (data) => received.push(data));
  return { socket, received };
}

/** One compressed text frame, masked with zeros. */
function compressedFrame(payload: Buffer, { final = true, first = true } = {}): Buffer {
  const head = Buffer.alloc(14);
  head[0] = (final ? 0x80 : 0) | (first ? 0x41 : 0);
  head[1] = 0x80 | 127;
  head.writeUInt32BE(payload.length, 6);
  return Buffer.concat([head, payload]);
}

it('is neither offered nor accepted unless asked for', async () => {
  const { url } = await listening();
  expect((await upgrade(url, offer)).headers['sec-websocket-extensions']).toBeUndefined();
  const compressing = await listening(testHost(), { deflate: true });
  expect((await upgrade(compressing.url, bearer)).headers['sec-websocket-extensions']).toBeUndefined();
});

it('keeps no context from one message to the next, in a small window', async () => {
  const { url } = await listening(testHost(), { deflate: true });
  const { 'sec-websocket-extensions': agreed } = (await upgrade(url, offer)).headers;
  expect(agreed?.split('; ').sort()).toEqual([
    'client_no_context_takeover',
    'permessage-deflate',
    'server_max_window_bits=12',
    'server_no_context_takeover',
  ]);
});

describe.each([
  ['both ends', { deflate: true }, { deflate: true }],
  ['the server alone', { deflate: true }, {}],
  ['the client alone', {}, { deflate: { thresholdBytes: 0, level: 9 } }],
] as const)('with %s willing', (_name, server, client) => {
  it('messages of every size arrive, in order and both ways', async () => {
    const { url } = await listening(testHost({ maxMessageBytes: 4 * MIB }), server);
    const { client: mcp, transport } = await connectV2(url, 'auto', client);
    const sizes = [0, 100, 5_000, 200_000, 10, 2_000_000];
    const results = await Promise.all(sizes.map((value) => mcp.callTool({ name: 'blob', arguments: { value, pad: 'y'.repeat(value) } })));
    expect(results.map(({ content }) => (content as { text: string }[])[0]?.text.length)).toEqual(sizes);
    expect(transport.metrics().bytesIn).toBeGreaterThan(2_000_000);
  });
});

it("works with the WebSocket of a browser's kind, which always offers it", async () => {
  const { url } = await listening(testHost(), { deflate: true });
  const transport = new BrowserTransport(url, { token: 'alice-token' });
  cleanup(() => transport.close());
  const received: unknown[] = [];
  transport.onmessage = (message) => received.push(message);
  await transport.start();
  await transport.send(JSON.parse(modernRequest(1, 'tools/call', { name: 'blob', arguments: { value: 50_000, pad: 'z'.repeat(20_000) } })));
  await until(() => received.length === 1);
  expect(received).toMatchObject([{ id: 1, result: { content: [{ text: 'x'.repeat(50_000) }] } }]);
});

it.each([
  ['compresses what is long', 50_000, true],
  ['leaves alone what is short', 500, false],
])('%s', async (_name, value, compressed) => {
  const { url } = await listening(testHost(), { deflate: true });
  const { socket, received } = await openByHand(url);
  const request = Buffer.from(modernRequest(1, 'tools/call', { name: 'blob', arguments: { value } }));
  // A message that is not compressed: RSV1 is not set.
  socket.write(Buffer.concat([Buffer.from([0x81, 0x80 | 126, request.length >> 8, request.length & 0xff, 0, 0, 0, 0]), request]));
  await until(() => received.length > 0);
  const answer = Buffer.concat(received);
  expect((answer[0] as number) & 0x40).toBe(compressed ? 0x40 : 0);
  expect(answer.length < 1_000).toBe(true);
});

describe('a deflate bomb', () => {
  const LIMIT = 4 * MIB;
  /** Blocks that can each be inflated by themselves: an inflater that starts anew behind one goes on. */
  const block = deflateRawSync(Buffer.alloc(64 * 1024), { level: 9, finishFlush: constants.Z_SYNC_FLUSH });
  const bombs: [string, () => Buffer][] = [
    ['of 100 KiB that would inflate to 100 MiB', () => deflateRawSync(Buffer.alloc(100 * MIB), { level: 9 })],
    [
      'of 4 MiB that would inflate to 3 GiB',
      () => Buffer.concat(Array.from({ length: Math.floor((LIMIT - 1) / block.length) }, () => block)),
    ],
  ];

  it.each(bombs)('%s is closed with 1009, its memory never taken', async (_name, bomb) => {
    const host = testHost({ maxMessageBytes: LIMIT });
    const { url } = await listening(host, { deflate: true });
    const { client } = await connectV2(url, 'auto', { token: 'bob-token', deflate: true });
    const { socket, received } = await openByHand(url);
    const frame = compressedFrame(bomb());
    let peak = 0;
    const before = process.memoryUsage().rss;
    const sampling = setInterval(() => {
      peak = Math.max(peak, process.memoryUsage().rss);
    }, 1);
    socket.write(frame);
    await until(() => host.audited.length === 1);
    clearInterval(sampling);
    expect(host.audited).toMatchObject([{ type: 'ws.closed', actor: 'alice', reason: 'message too big' }]);
    expect(Buffer.concat(received).readUInt16BE(2)).toBe(CLOSE_CODES.messageTooBig);
    expect(peak - before).toBeLessThan(80 * MIB);
    expect((await client.listTools()).tools).toHaveLength(1);
  });

  it('in fragments is counted as one message', async () => {
    const host = testHost({ maxMessageBytes: LIMIT });
    const { url } = await listening(host, { deflate: true });
    const { socket } = await openByHand(url);
    const part = deflateRawSync(Buffer.alloc(MIB), { level: 9, finishFlush: constants.Z_SYNC_FLUSH });
    for (let n = 0; n < 5; n += 1) socket.write(compressedFrame(part, { first: n === 0, final: false }));
    await until(() => host.audited.length === 1);
    expect(host.audited).toMatchObject([{ reason: 'message too big' }]);
  });

  it('from a server ends the connection of a client', async () => {
    const { url } = await listening(testHost(), { deflate: true });
    const transport = new WebSocketClientTransport(url, { token: 'alice-token', deflate: true, maxMessageBytes: 64 * 1024 });
    const closed = new Promise<void>((resolve) => {
      transport.onclose = resolve;
    });
    await transport.start();
    await transport.send(JSON.parse(modernRequest(1, 'tools/call', { name: 'blob', arguments: { value: 5 * MIB } })));
    await closed;
    expect(transport).toMatchObject({ closeCode: 1009, closeError: { code: 'payload_too_large' } });
  });
});

it('what claims to be compressed and is not ends the connection with 1007', async () => {
  const host = testHost();
  const { url } = await listening(host, { deflate: true });
  const { socket, received } = await openByHand(url);
  socket.write(compressedFrame(Buffer.from('this is no deflate stream')));
  await until(() => host.audited.length === 1);
  expect(Buffer.concat(received).readUInt16BE(2)).toBe(CLOSE_CODES.invalidText);
  expect(host.audited).toMatchObject([{ reason: 'undecodable text' }]);
  await openRaw(url);
});

it.each([
  ['deflate', false],
  ['deflate.thresholdBytes', { thresholdBytes: -1 }],
  ['deflate.level', { level: 0 }],
  ['deflate.level', { level: 10 }],
])('names %s when it is %j', (option, deflate) => {
  const options = { deflate } as never;
  const error = expect.objectContaining({ code: 'invalid_configuration', option });
  expect(() => encryptedWebSocket(options)).toThrow(error);
  expect(() => new WebSocketClientTransport('ws://localhost/ws', options)).toThrow(error);
});
