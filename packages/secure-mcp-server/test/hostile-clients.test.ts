import { EventEmitter } from 'node:events';
import { connect, type Socket } from 'node:net';
import { type ListenerHost, parseJsonRpc, systemClock } from '@mcp-blocks/core';
import { testPrincipal } from '@mcp-blocks/core/testing';
import { describe, expect, it, onTestFinished } from 'vitest';
import { ConnectionGate } from '../src/http/connection-gate.js';
import { McpEndpoint } from '../src/http/mcp-endpoint.js';
import { resolveHttpOptions } from '../src/http/options.js';
import { prometheus } from '../src/prometheus.js';
import { callTool, modernRequest, startHttp, testService } from './support/server.js';

/** A connection of its own that has sent a request and reads nothing yet. */
function send(url: URL, { headers, body }: ReturnType<typeof callTool>): Socket {
  const socket = connect(Number(url.port), url.hostname);
  onTestFinished(() => void socket.destroy());
  socket.on('error', () => {}).pause();
  const lines = Object.entries({ host: 'localhost', 'content-length': Buffer.byteLength(body), ...headers });
  socket.write(`POST /mcp HTTP/1.1\r\n${lines.map(([name, value]) => `${name}: ${value}`).join('\r\n')}\r\n\r\n${body}`);
  return socket;
}

describe('a client that does not read', () => {
  const bytes = 24 * 1024 * 1024;

  it('its answer is cut', async () => {
    const { url, server } = await startHttp({ service: testService().service, http: { writeTimeoutMs: 200 } });
    send(url, callTool('big', { bytes }));
    await expect.poll(() => server.metrics().totalRequests).toBe(1);
    await expect.poll(() => server.metrics().activeConnections, { timeout: 10_000 }).toBe(0);
  });

  it('fast is not, nor are later requests of its connection', async () => {
    const service = testService();
    const { url, server } = await startHttp({ service: service.service, http: { writeTimeoutMs: 200 } });
    const socket = send(url, callTool('big', { bytes }));
    let read = 0;
    let tail = '';
    socket.on('data', (chunk) => {
      read += chunk.length;
      tail = (tail + chunk.toString('latin1')).slice(-2000);
      socket.pause();
      // Takes a part of it, and the next one in the next turn.
      setImmediate(() => socket.resume());
    });
    socket.resume();
    await expect.poll(() => read, { timeout: 15_000 }).toBeGreaterThan(bytes);
    // Two at once: the second one takes longer than the first one's answer may.
    const { headers, body } = callTool('slow');
    const before = read;
    const again = callTool('echo');
    for (const request of [again, { headers: { ...headers, connection: 'close' }, body }]) {
      const lines = Object.entries({ host: 'localhost', 'content-length': Buffer.byteLength(request.body), ...request.headers });
      socket.write(`POST /mcp HTTP/1.1\r\n${lines.map(([name, value]) => `${name}: ${value}`).join('\r\n')}\r\n\r\n${request.body}`);
    }
    await service.started;
    await expect.poll(() => read).toBeGreaterThan(before);
    const idleFrom = performance.now();
    await expect.poll(() => performance.now() - idleFrom).toBeGreaterThan(500);
    expect(server.metrics().activeConnections).toBe(1);
    service.open();
    await expect.poll(() => tail).toContain('done');
  });
});

it('a body that comes a byte at a time is read as one', async () => {
  const { url } = await startHttp({ service: testService().service });
  const { headers, body } = callTool('echo', { a: 'é'.repeat(100) });
  const socket = connect(Number(url.port), url.hostname);
  onTestFinished(() => void socket.destroy());
  let answer = '';
  socket.on('data', (chunk) => (answer += chunk.toString()));
  const lines = Object.entries({ host: 'localhost', 'transfer-encoding': 'chunked', ...headers });
  socket.write(`POST /mcp HTTP/1.1\r\n${lines.map(([name, value]) => `${name}: ${value}`).join('\r\n')}\r\n\r\n`);
  for (const byte of Buffer.from(body)) socket.write(Buffer.concat([Buffer.from('1\r\n'), Buffer.of(byte), Buffer.from('\r\n')]));
  socket.write('0\r\n\r\n');
  await expect.poll(() => answer).toContain('HTTP/1.1 200 OK');
  await expect.poll(() => answer).toContain('é'.repeat(100));
});

describe('a page whose name was made to resolve to this server', () => {
  const token = 'a-token-of-sixteen-characters-or-more';
  const scrape = (url: URL, headers: Record<string, string>) =>
    new Promise<number>((resolve) => {
      const socket = connect(Number(url.port), url.hostname);
      socket.once('data', (chunk) => {
        socket.destroy();
        resolve(Number(chunk.toString().slice(9, 12)));
      });
      const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
      socket.write(`GET /metrics HTTP/1.1\r\n${lines.join('')}\r\n`);
    });

  it.each([
    [{ host: 'evil.example' }, 403],
    [{ host: 'evil.example:9090' }, 403],
    [{ host: '127.0.0.1.evil.example' }, 403],
    [{ host: '127.0.0.1@evil.example' }, 403],
    [{ host: '[::1].evil.example' }, 403],
    [{ host: 'localhost' }, 200],
    [{ host: '127.0.0.1:9090' }, 200],
    [{ host: '10.0.0.5:9090' }, 200],
    [{ host: '[2001:db8::1]:9090' }, 200],
    [{ host: 'mcp.internal', authorization: `Bearer ${token}` }, 200],
  ])('reads no metrics by its address: %o answers %i', async (headers, status) => {
    const metrics = prometheus({ allow: ['127.0.0.1'], token });
    const { url } = await startHttp({ service: testService().service, http: { metrics } });
    expect(await scrape(url, headers as unknown as Record<string, string>)).toBe(status);
  });
});

describe('a site with a network of IPv6', () => {
  const gate = () => new ConnectionGate({ maxConnectionsPerIp: 2 });
  const dial = (from: ConnectionGate, remoteAddress: string) => {
    const socket = Object.assign(new EventEmitter(), { remoteAddress }) as unknown as Socket;
    return { socket, refusal: from.enter(socket) };
  };

  it.each([
    ['2001:db8:1:2::1', '2001:db8:1:2:ffff::', '2001:db8:1:2:3:4:5:6'],
    ['::1', '::2', '::'],
    ['fe80::1%eth0', 'fe80::2%eth1', 'fe80::1:0:0:3'],
    ['64:ff9b::192.0.2.1', '64:ff9b::192.0.2.2', '64:ff9b::1'],
  ])('has no more connections than one address: %s', (first, second, third) => {
    const one = gate();
    const opened = dial(one, first);
    expect([opened.refusal, dial(one, second).refusal]).toEqual([undefined, undefined]);
    expect(dial(one, third).refusal).toBe('maxConnectionsPerIp');
    opened.socket.emit('close');
    expect(dial(one, third).refusal).toBeUndefined();
  });

  it('takes nothing from another one, nor IPv4 addresses from each other', () => {
    const one = gate();
    for (const address of [
      '2001:db8:1:2::1',
      '2001:db8:1:3::1',
      '2001:db8:1:20::1',
      '192.0.2.1',
      '::ffff:192.0.2.2',
      '1:2:3::',
      '1:2:3:4::',
    ]) {
      expect([dial(one, address).refusal, dial(one, address).refusal]).toEqual([undefined, undefined]);
    }
    expect(dial(one, '192.0.2.2').refusal).toBe('maxConnectionsPerIp');
  });
});

it('a caller who opens as many streams as one may keeps nobody else from theirs', async () => {
  const options = resolveHttpOptions({ port: 0, maxSubscriptionsPerPrincipal: 1200 });
  const endpoint = new McpEndpoint({ service: testService().service, onError() {} } as unknown as ListenerHost, options, systemClock);
  onTestFinished(() => endpoint.close());
  const { headers, body } = modernRequest('subscriptions/listen', { notifications: { toolsListChanged: true } });
  const listen = (id: string) => {
    const connection = { principal: testPrincipal({ id }), transport: 'http' };
    const request = new Request('http://localhost/mcp', { method: 'POST', headers });
    return endpoint.handle(request, parseJsonRpc(body, { maxJsonDepth: 64 }), connection);
  };
  for (let n = 0; n < 1200; n += 1) expect((await listen('mallory')).kind).toBe('subscription');
  await expect(listen('mallory')).rejects.toMatchObject({ status: 429 });
  expect((await listen('alice')).kind).toBe('subscription');
});
