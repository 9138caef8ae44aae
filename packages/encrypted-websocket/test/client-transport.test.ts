import { createServer } from 'node:http';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { ManualClock, settle } from '@mcp-blocks/core/testing';
import { describe, expect, it } from 'vitest';
import { type WebSocket, WebSocketServer } from 'ws';
import { toCloseError, type WebSocketClientOptions, WebSocketClientTransport } from '../src/index.js';
import { certificates, cleanup, connectV2, deferred, listening, testHost } from './support.js';

const PING = { jsonrpc: '2.0', id: 1, method: 'ping' } as const;

/** A WebSocket server that does what the test says. */
async function strangeServer(onConnection: (socket: WebSocket) => void = () => {}) {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1', handleProtocols: () => 'mcp' });
  cleanup(async () => {
    for (const client of server.clients) client.terminate();
    await new Promise((resolve) => server.close(resolve));
  });
  server.on('connection', onConnection);
  await new Promise((resolve) => server.once('listening', resolve));
  return `ws://127.0.0.1:${(server.address() as AddressInfo).port}/ws`;
}

function open(url: string, options: WebSocketClientOptions = {}) {
  const transport = new WebSocketClientTransport(url, options);
  const received: unknown[] = [];
  const errors: Error[] = [];
  const closed = deferred();
  let closes = 0;
  transport.onmessage = (message) => received.push(message);
  transport.onerror = (error) => errors.push(error);
  transport.onclose = () => {
    closes += 1;
    closed.resolve();
  };
  cleanup(() => transport.close());
  return { transport, received, errors, closed: closed.promise, closes: () => closes };
}

describe('start', () => {
  it.each([
    [401, 'unauthenticated'],
    [403, 'forbidden'],
    [503, 'unavailable'],
    [404, 'unavailable'],
    [302, 'unavailable'],
    [200, 'unavailable'],
  ])('rejects on HTTP %d with %s, and never tells the token', async (status, code) => {
    const server = createServer();
    server.on('upgrade', (request, socket) => {
      // A server that echoes what it was sent.
      socket.end(
        `HTTP/1.1 ${status} Refused\r\nlocation: http://127.0.0.1:1/\r\nconnection: close\r\n\r\n${request.headers.authorization}`,
      );
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    cleanup(() => new Promise((resolve) => server.close(resolve)));
    const clock = new ManualClock();
    const { transport } = open(`ws://127.0.0.1:${(server.address() as AddressInfo).port}/ws`, { token: 'secret-token', clock });
    const error = await transport.start().catch((reason: unknown) => reason as Error);
    expect(error).toMatchObject({ name: 'RpcError', code, data: { httpStatus: status } });
    expect(`${error} ${JSON.stringify(error)} ${(error as Error).stack}`).not.toContain('secret-token');
    expect(clock.pendingTimers).toBe(0);
  });

  it('asks for the token each time', async () => {
    const { url } = await listening();
    const asked: string[] = [];
    const token = async () => {
      asked.push('asked');
      return 'bob-token';
    };
    const { client } = await connectV2(url, 'auto', { token });
    await connectV2(url, 'legacy', { token });
    expect(asked).toHaveLength(2);
    expect(JSON.stringify((await client.callTool({ name: 'echo' })).content)).toContain('bob websocket');
  });

  it('rejects when there is no token to be had', async () => {
    const { url } = await listening();
    const { transport } = open(url, { token: () => Promise.reject(new Error('login page down')) });
    await expect(transport.start()).rejects.toMatchObject({ code: 'unauthenticated' });
  });

  it('rejects when the token cannot be sent', async () => {
    const { url } = await listening();
    const { transport } = open(url, { token: 'a\r\nb' });
    await expect(transport.start()).rejects.toMatchObject({ code: 'unavailable' });
  });

  it('sends further headers', async () => {
    const { url } = await listening();
    const { transport } = open(url, { headers: { 'X-API-Key': 'alice-token' } });
    await transport.start();
    expect(transport.getSessionInfo()).toEqual({ sessionId: expect.any(String), secure: false, protocol: 'mcp' });
  });

  it('rejects when nobody listens', async () => {
    const { url, listener } = await listening();
    await listener.close();
    await expect(open(url).transport.start()).rejects.toMatchObject({ code: 'unavailable', cause: { code: 'ECONNREFUSED' } });
  });

  it('rejects when the server does not answer in time', async () => {
    const connected = deferred();
    const server = createTcpServer((socket) => {
      cleanup(async () => socket.destroy());
      connected.resolve();
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    cleanup(() => new Promise((resolve) => server.close(resolve)));
    const clock = new ManualClock();
    const { transport } = open(`ws://127.0.0.1:${(server.address() as AddressInfo).port}/ws`, { clock, handshakeTimeoutMs: 2_000 });
    const started = expect(transport.start()).rejects.toMatchObject({ code: 'unavailable', message: expect.stringContaining('too long') });
    await connected.promise;
    await clock.advance(2_000);
    await started;
    expect(clock.pendingTimers).toBe(0);
  });

  it('rejects a second time, and after close', async () => {
    const { url } = await listening();
    const { transport } = open(url, { token: 'alice-token' });
    await transport.start();
    await expect(transport.start()).rejects.toMatchObject({ code: 'internal_error' });
    const closed = open(url);
    await closed.transport.close();
    await closed.transport.close();
    expect(closed.closes()).toBe(1);
    await expect(closed.transport.start()).rejects.toMatchObject({ code: 'internal_error' });
  });
});

describe('an open transport', () => {
  it('delivers what the server sends along with the handshake', async () => {
    const url = await strangeServer((socket) => socket.send(JSON.stringify(PING)));
    const { transport, received } = open(url);
    const first = new Promise((resolve) => {
      const { onmessage } = transport;
      transport.onmessage = (message) => {
        onmessage?.(message);
        resolve(message);
      };
    });
    await transport.start();
    await first;
    expect(received).toEqual([PING]);
  });

  it('reports what is not a message and goes on', async () => {
    const url = await strangeServer((socket) => {
      for (const text of ['{', '[]', `{"jsonrpc":"2.0","id":1,"result":${'['.repeat(100)}${']'.repeat(100)}}`]) socket.send(text);
      socket.send(JSON.stringify(PING));
    });
    const { transport, received, errors } = open(url);
    await transport.start();
    while (received.length === 0) await settle();
    expect(errors.map((error) => (error as { code?: string }).code)).toEqual(['parse_error', 'invalid_request', 'parse_error']);
    expect(received).toEqual([PING]);
  });

  it('closes with 1009 on a message over its limit', async () => {
    const url = await strangeServer((socket) => socket.send('x'.repeat(1_001)));
    const { transport, closed } = open(url, { maxMessageBytes: 1_000 });
    await transport.start();
    await closed;
    expect(transport.closeCode).toBe(1009);
    expect(transport.closeError).toMatchObject({ code: 'payload_too_large' });
  });

  it('holds back what is sent while the server does not read', async () => {
    const server = deferred<WebSocket>();
    const url = await strangeServer((socket) => {
      socket.pause();
      server.resolve(socket);
    });
    const { transport } = open(url, { maxBufferedBytes: 1_024 });
    await transport.start();
    let sent = false;
    const big = { ...PING, params: { pad: 'x'.repeat(16 * 1024 * 1024) } };
    const sending = transport.send(big).then(() => {
      sent = true;
    });
    for (let turn = 0; turn < 50; turn += 1) await settle();
    expect(sent).toBe(false);
    (await server.promise).resume();
    await sending;
    expect(transport.metrics()).toMatchObject({ messagesOut: 1, bytesOut: JSON.stringify(big).length, messagesIn: 0, bytesIn: 0 });
  });

  it('fails what waits to be sent when the connection breaks', async () => {
    const server = deferred<WebSocket>();
    const url = await strangeServer((socket) => {
      socket.pause();
      server.resolve(socket);
    });
    const { transport, closed } = open(url, { maxBufferedBytes: 1_024 });
    await transport.start();
    const sending = expect(transport.send({ ...PING, params: { pad: 'x'.repeat(16 * 1024 * 1024) } })).rejects.toMatchObject({
      code: 'unavailable',
    });
    (await server.promise).terminate();
    await sending;
    await closed;
    expect(transport.closeCode).toBe(1006);
    await expect(transport.send(PING)).rejects.toMatchObject({ code: 'unavailable' });
  });

  it.each([
    [1000, 'unavailable', 0],
    [1001, 'unavailable', 1],
    [4401, 'unauthenticated', 1],
    [4999, 'unavailable', 1],
  ])('tells how the server closed it: %d', async (code, errorCode, reported) => {
    const url = await strangeServer((socket) => socket.close(code, 'because'));
    const { transport, errors, closed } = open(url);
    await transport.start();
    await closed;
    expect(transport).toMatchObject({
      closeCode: code,
      closeReason: 'because',
      closeError: { code: errorCode, data: { closeCode: code } },
    });
    expect(errors).toHaveLength(reported);
    expect(transport.getSessionInfo()).toBeUndefined();
  });

  it('closes itself with 1000, once, and calls that no error', async () => {
    const clock = new ManualClock();
    const seen = deferred<number>();
    const url = await strangeServer((socket) => socket.on('close', (code) => seen.resolve(code)));
    const { transport, errors, closes } = open(url, { clock });
    await transport.start();
    await Promise.all([transport.close(), transport.close()]);
    expect(await seen.promise).toBe(1000);
    expect([closes(), transport.closeCode, transport.closeError, errors.length]).toEqual([1, 1000, undefined, 0]);
    expect(clock.pendingTimers).toBe(0);
  });

  it('is cut when the server does not answer its goodbye', async () => {
    const clock = new ManualClock();
    const url = await strangeServer((socket) => socket.pause());
    const { transport } = open(url, { clock });
    await transport.start();
    const closing = transport.close();
    await clock.advance(5_000);
    await closing;
    expect(clock.pendingTimers).toBe(0);
  });

  it('leaves hasPerRequestStream and sessionId unset, so that SDK clients initialise and cancel as they should', () => {
    const transport: { hasPerRequestStream?: boolean; sessionId?: string } = new WebSocketClientTransport('ws://localhost/ws') as object;
    expect([transport.hasPerRequestStream, transport.sessionId]).toEqual([undefined, undefined]);
  });
});

describe('the constructor', () => {
  it.each([
    ['url', 'http://localhost/ws', {}],
    ['url', 'not a url', {}],
    ['url', 'ws://mcp.example/ws', {}],
    ['url', 'ws://127.0.0.1.evil.example/ws', {}],
    ['url', 'ws://localhost/ws#part', {}],
    ['url', 'wss://user:hunter2@mcp.example/ws', {}],
    ['url', 'wss://mcp.example/ws?access_token=hunter2', {}],
    ['headers.Sec-WebSocket-Key', 'ws://localhost/ws', { headers: { 'Sec-WebSocket-Key': 'x' } }],
    ['headers.authorization', 'ws://localhost/ws', { token: 'a', headers: { authorization: 'Bearer b' } }],
    ['heartbeatIntervalMs', 'ws://localhost/ws', { heartbeatIntervalMs: 0 }],
    ['maxMessageBytes', 'ws://localhost/ws', { maxMessageBytes: 1.5 }],
    ['maxJsonDepth', 'ws://localhost/ws', { maxJsonDepth: 0 }],
  ])('names %s when it is wrong: %s', (option, url, options) => {
    expect(() => new WebSocketClientTransport(url, options)).toThrow(
      expect.objectContaining({ code: 'invalid_configuration', option, message: expect.not.stringContaining('hunter2') }),
    );
  });

  it.each([
    ['ws://127.0.0.1:1/ws', {}],
    ['ws://[::1]:1/ws', {}],
    ['ws://mcp.example/ws', { allowInsecure: true as const }],
    ['wss://mcp.example/ws', {}],
  ])('accepts %s', (url, options) => {
    expect(() => new WebSocketClientTransport(new URL(url), options)).not.toThrow();
  });
});

it('trusts no certificate because of NODE_TLS_REJECT_UNAUTHORIZED', async () => {
  const { url } = await listening(testHost(), { tls: certificates.server });
  const before = process.env.NODE_TLS_REJECT_UNAUTHORIZED;
  process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0';
  try {
    await expect(open(url, { token: 'alice-token' }).transport.start()).rejects.toMatchObject({ code: 'unavailable' });
  } finally {
    if (before === undefined) delete process.env.NODE_TLS_REJECT_UNAUTHORIZED;
    else process.env.NODE_TLS_REJECT_UNAUTHORIZED = before;
  }
});

it('has an error for every close code', () => {
  for (const code of [1000, 1001, 1002, 1003, 1006, 1007, 1008, 1009, 1011, 4401, 4408, 4413, 4503, 4999]) {
    expect(toCloseError(code)).toMatchObject({ name: 'RpcError', data: { closeCode: code } });
  }
});
