import { describe, expect, it } from 'vitest';
import { CLOSE_CODES } from '../src/index.js';
import { connectV2, listening, modernRequest, openRaw, testHost, until } from './support.js';

const deep = (levels: number) => `${'{"a":'.repeat(levels)}1${'}'.repeat(levels)}`;

describe('a message that is not one JSON-RPC message is answered, and the connection goes on', () => {
  it.each([
    ['malformed JSON', '{"jsonrpc":', -32700, null],
    ['an empty frame', '', -32700, null],
    ['deep JSON', `{"jsonrpc":"2.0","id":1,"method":"x","params":${deep(40)}}`, -32700, null],
    ['a batch array', `[${modernRequest(1, 'tools/list')}]`, -32600, null],
    ['a number', '42', -32600, null],
    ['a wrong version', '{"jsonrpc":"1.0","id":7,"method":"x"}', -32600, 7],
    ['a null id', '{"jsonrpc":"2.0","id":null,"method":"x"}', -32600, null],
    ['an object as id', '{"jsonrpc":"2.0","id":{},"method":"x"}', -32600, null],
    ['no method', '{"jsonrpc":"2.0","id":"a"}', -32600, 'a'],
    ['params in an array', '{"jsonrpc":"2.0","id":8,"method":"x","params":[1]}', -32600, 8],
  ])('%s', async (_name, text, code, id) => {
    const { url } = await listening();
    const { client: neighbour } = await connectV2(url);
    const { socket, next } = await openRaw(url);
    socket.send(text);
    expect(await next()).toMatchObject({ jsonrpc: '2.0', id, error: { code, message: expect.any(String) } });
    socket.send(modernRequest(2, 'tools/list'));
    expect(await next()).toMatchObject({ id: 2, result: { tools: [{ name: 'echo' }] } });
    expect((await neighbour.listTools()).tools).toHaveLength(1);
  });

  it('an unknown method, with -32601', async () => {
    const { url } = await listening(testHost({ service: { info: { name: 'none', version: '1', capabilities: {} }, handler: unknown } }));
    const { socket, next } = await openRaw(url);
    socket.send(modernRequest(1, 'no/such'));
    expect(await next()).toMatchObject({ id: 1, error: { code: -32601 } });
  });
});

async function unknown(): Promise<never> {
  const { RpcError } = await import('@mcp-blocks/core');
  throw new RpcError('method_not_found', 'Method not found');
}

describe('a frame that breaks the rules ends its own connection, with the documented code', () => {
  it.each([
    [
      'a binary frame',
      CLOSE_CODES.unsupportedData,
      'frame of the wrong kind',
      (send: Send) => send(Buffer.from(modernRequest(1, 'tools/list'))),
    ],
    ['a message over the limit', CLOSE_CODES.messageTooBig, 'message too big', (send: Send) => send('x'.repeat(64 * 1024 + 1))],
    [
      'a fragmented message over the limit',
      CLOSE_CODES.messageTooBig,
      'message too big',
      (send: Send) => {
        for (let part = 0; part < 5; part += 1) send('x'.repeat(16 * 1024), { fin: part === 4 });
      },
    ],
    ['text that is not UTF-8', CLOSE_CODES.invalidText, 'undecodable text', (send: Send) => send(Buffer.from([0xff]), { binary: false })],
    ['a compressed frame', CLOSE_CODES.protocolError, 'protocol error', (send: Send) => send('x', { rsv1: true } as never)],
  ])('%s', async (_name, code, reason, act) => {
    const host = testHost();
    const { url } = await listening(host);
    const { client: neighbour } = await connectV2(url, 'auto', { token: 'bob-token' });
    const { socket, closed } = await openRaw(url);
    if (code === CLOSE_CODES.protocolError) {
      // A text frame with RSV1 set, masked with zeros, as a peer with a deflate bomb would send it.
      (socket as unknown as { _socket: { write(data: Buffer): void } })._socket.write(Buffer.from([0xc1, 0x81, 0, 0, 0, 0, 0x78]));
    } else {
      act((data, options) => socket.send(data, options ?? {}));
    }
    expect(await closed).toBe(code);
    await until(() => host.active.count === 1);
    expect(host.audited).toMatchObject([{ type: 'ws.closed', outcome: 'denied', actor: 'alice', reason, details: { closeCode: code } }]);
    expect((await neighbour.listTools()).tools).toHaveLength(1);
  });

  it('takes a message of exactly the limit', async () => {
    const { url } = await listening();
    const { socket, next } = await openRaw(url);
    const text = modernRequest(1, 'tools/call', { name: 'echo', pad: '' });
    socket.send(text.replace('"pad":""', `"pad":"${'x'.repeat(64 * 1024 - text.length)}"`));
    expect(await next()).toMatchObject({ id: 1, result: {} });
  });
});

type Send = (data: string | Buffer, options?: { fin?: boolean; binary?: boolean }) => void;
