import { X509Certificate } from 'node:crypto';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { Agent, request as httpsRequest } from 'node:https';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import { fileURLToPath } from 'node:url';
import { ConfigurationError } from '@mcp-blocks/core';
import { ManualClock, settle } from '@mcp-blocks/core/testing';
import { describe, expect, it, onTestFinished } from 'vitest';
import { type HttpOptions, http } from '../src/index.js';
import { callTool, startHttp, testService } from './support/server.js';

const path = (name: string) => fileURLToPath(new URL(`fixtures/test-only-${name}`, import.meta.url));
const pair = (name: string) => ({ cert: readFileSync(path(`${name}.pem`)), key: readFileSync(path(`${name}.key`)) });
const fingerprint = (name: string) => new X509Certificate(pair(name).cert).fingerprint256;

async function start(options: Partial<HttpOptions>, clock?: ManualClock) {
  const listener = http({ port: 0, ...options });
  const started = await startHttp({ service: testService().service, listeners: [listener], ...(clock === undefined ? {} : { clock }) });
  return { ...started, listener };
}

/** GET /healthz: the certificate it was served with, and the local port of its connection. */
const probe = (url: URL, agent: Agent) =>
  new Promise<{ certificate: string; localPort: number | undefined }>((resolve, reject) => {
    httpsRequest({ host: url.hostname, port: url.port, path: '/healthz', agent, rejectUnauthorized: false }, (response) => {
      const socket = response.socket as TLSSocket;
      const seen = { certificate: socket.getPeerX509Certificate()?.fingerprint256 as string, localPort: socket.localPort };
      response.resume().once('end', () => resolve(seen));
    })
      .once('error', reject)
      .end();
  });

function newAgent(): Agent {
  const agent = new Agent({ keepAlive: true, maxCachedSessions: 0 });
  onTestFinished(() => agent.destroy());
  return agent;
}

describe('the certificate', () => {
  it('changes for new connections, while open ones go on', async () => {
    const { url, listener } = await start({ tls: pair('server') });
    const before = newAgent();
    const first = await probe(url, before);
    expect(first.certificate).toBe(fingerprint('server'));
    listener.reloadTls(pair('stranger'));
    expect((await probe(url, before)).localPort).toBe(first.localPort);
    expect((await probe(url, newAgent())).certificate).toBe(fingerprint('stranger'));
  });

  it('is read again from its files when it is told to, or by itself', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'mcp-blocks-tls-'));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const files = { certFile: join(folder, 'tls.pem'), keyFile: join(folder, 'tls.key') };
    const put = (name: string) => {
      copyFileSync(path(`${name}.pem`), files.certFile);
      copyFileSync(path(`${name}.key`), files.keyFile);
    };
    put('server');
    const clock = new ManualClock(Date.now());
    const { url, listener, server, errors } = await start({ tls: { ...files, reloadIntervalMs: 60_000 } }, clock);
    put('stranger');
    expect((await probe(url, newAgent())).certificate).toBe(fingerprint('server'));
    listener.reloadTls();
    expect((await probe(url, newAgent())).certificate).toBe(fingerprint('stranger'));
    put('server');
    await clock.advance(60_000);
    expect((await probe(url, newAgent())).certificate).toBe(fingerprint('server'));
    writeFileSync(files.keyFile, 'half a key');
    await clock.advance(60_000);
    expect(errors).toEqual([expect.objectContaining({ option: 'http.tls' })]);
    expect(String(errors[0])).not.toContain('half a key');
    expect((await probe(url, newAgent())).certificate).toBe(fingerprint('server'));
    await server.stop();
    expect(clock.pendingTimers).toBe(0);
  });

  it('that is no good is refused, and the one in use stays', async () => {
    const { url, listener } = await start({ tls: pair('server') });
    expect(() => listener.reloadTls({ ...pair('server'), key: pair('stranger').key })).toThrow(ConfigurationError);
    listener.reloadTls();
    expect((await probe(url, newAgent())).certificate).toBe(fingerprint('server'));
    expect(() => http({ port: 0 }).reloadTls()).toThrow(expect.objectContaining({ option: 'http.tls' }));
  });

  it.each<[string, string, HttpOptions['tls']]>([
    ['a key of another certificate', 'http.tls', { cert: pair('server').cert, key: pair('stranger').key }],
    ['no key', 'http.tls.key', { cert: pair('server').cert }],
    ['a certificate twice', 'http.tls.cert', { ...pair('server'), certFile: path('server.pem') }],
    ['a file that is not there', 'http.tls.keyFile', { certFile: path('server.pem'), keyFile: '/nowhere/tls.key' }],
    ['an interval without files', 'http.tls.reloadIntervalMs', { ...pair('server'), reloadIntervalMs: 5000 }],
    [
      'an interval too short',
      'http.tls.reloadIntervalMs',
      { certFile: path('server.pem'), keyFile: path('server.key'), reloadIntervalMs: 1 },
    ],
  ])('%s is refused at the start, naming %s', (_name, option, tls) => {
    expect(() => http({ port: 0, tls: tls as NonNullable<HttpOptions['tls']> })).toThrow(expect.objectContaining({ option }));
  });
});

it('a client that does not finish its TLS handshake does not hold the server up when it stops', async () => {
  const { url, server } = await start({ tls: pair('server'), headersTimeoutMs: 60_000 });
  const socket = connect(Number(url.port), url.hostname).on('error', () => {});
  const closed = new Promise((resolve) => socket.once('close', resolve));
  await new Promise((resolve) => socket.once('connect', resolve));
  // Something answered: the socket before it has been accepted too.
  await probe(url, newAgent());
  await server.stop();
  await closed;
  expect(server.status).toBe('stopped');
});

describe('browsers', () => {
  const ORIGIN = 'https://app.example';
  const preflight = (url: URL, origin: string, wanted = 'content-type, authorization, mcp-param-region, x-evil') =>
    fetch(url, {
      method: 'OPTIONS',
      headers: { origin, 'access-control-request-method': 'POST', 'access-control-request-headers': wanted },
    });

  it('of an allowed origin may send requests and read the answers', async () => {
    const { url } = await start({ allowedOrigins: ['app.example'] });
    const allowed = await preflight(url, ORIGIN);
    expect(allowed.status).toBe(204);
    expect(Object.fromEntries(allowed.headers)).toMatchObject({
      'access-control-allow-origin': ORIGIN,
      'access-control-allow-methods': 'POST, GET, DELETE',
      'access-control-allow-headers': 'content-type, authorization, mcp-param-region',
      'access-control-max-age': '600',
      vary: 'Origin',
    });
    expect(allowed.headers.get('access-control-allow-credentials')).toBeNull();
    const answer = await fetch(url, callTool('echo', {}, { origin: ORIGIN }));
    expect([answer.status, answer.headers.get('access-control-allow-origin')]).toEqual([200, ORIGIN]);
    const exposed = (answer.headers.get('access-control-expose-headers') ?? '').toLowerCase();
    for (const name of ['mcp-session-id', 'www-authenticate', 'retry-after']) expect(exposed).toContain(name);
    const refused = await fetch(url, callTool('echo', {}, { origin: ORIGIN, authorization: '' }));
    expect([refused.status, refused.headers.get('access-control-allow-origin')]).toEqual([401, ORIGIN]);
  });

  it('of another origin may not', async () => {
    const { url } = await start({ allowedOrigins: ['app.example'] });
    for (const response of [
      await preflight(url, 'https://evil.example'),
      await fetch(url, callTool('echo', {}, { origin: 'https://evil.example' })),
    ]) {
      expect([response.status, response.headers.get('access-control-allow-origin')]).toEqual([403, null]);
    }
    const none = await fetch(url, callTool('echo'));
    expect([none.status, none.headers.get('access-control-allow-origin'), none.headers.get('vary')]).toEqual([200, null, 'Origin']);
  });

  it('read nothing of servers that name no origins', async () => {
    const { url } = await start({});
    const response = await preflight(url, 'http://localhost:3000');
    expect([response.status, response.headers.get('access-control-allow-origin')]).toEqual([405, null]);
  });

  it('are told to make nothing else of an answer', async () => {
    const { url } = await start({});
    const { headers } = await fetch(url, callTool('echo'));
    expect(Object.fromEntries(headers)).toMatchObject({
      'x-content-type-options': 'nosniff',
      'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
      'referrer-policy': 'no-referrer',
    });
    expect(headers.get('strict-transport-security')).toBeNull();
  });

  it('are told to come back with HTTPS only, except on loopback', async () => {
    const strict = async (options: Partial<HttpOptions>) => {
      const { url } = await start({ tls: pair('server'), ...options });
      return new Promise((resolve) => {
        httpsRequest({ host: '127.0.0.1', port: url.port, path: '/healthz', agent: newAgent(), rejectUnauthorized: false }, (response) => {
          response.resume();
          resolve(response.headers['strict-transport-security']);
        }).end();
      });
    };
    expect(await strict({})).toBeUndefined();
    expect(await strict({ host: '0.0.0.0', allowedHosts: ['mcp.example'] })).toBe('max-age=31536000');
  });
});

describe('addresses', () => {
  const statusOf = (url: URL, headers: Record<string, string> = {}) =>
    fetch(url, callTool('echo', {}, headers)).then(
      ({ status }) => status,
      () => 'cut',
    );

  it.each<[string, Partial<HttpOptions>, Record<string, string>, number | 'cut']>([
    ['are all admitted by default', {}, {}, 200],
    ['that are denied are cut', { deniedAddresses: ['127.0.0.1'] }, {}, 'cut'],
    ['that are not allowed are cut', { allowedAddresses: ['10.0.0.0/8'] }, {}, 'cut'],
    ['that are allowed get in', { allowedAddresses: ['127.0.0.0/8'] }, {}, 200],
    ['that are both are cut', { allowedAddresses: ['127.0.0.0/8'], deniedAddresses: ['127.0.0.1'] }, {}, 'cut'],
    ['written into a header count for nothing', { deniedAddresses: ['192.0.2.0/24'] }, { 'x-forwarded-for': '192.0.2.1' }, 200],
    [
      'behind a trusted proxy are refused',
      { deniedAddresses: ['192.0.2.0/24'], trustedProxies: ['127.0.0.1'] },
      { 'x-forwarded-for': '192.0.2.1' },
      403,
    ],
    [
      'behind two as well',
      { allowedAddresses: ['198.51.100.0/24'], trustedProxies: ['127.0.0.1', '10.0.0.0/8'] },
      { 'x-forwarded-for': '192.0.2.1, 10.1.1.1' },
      403,
    ],
    [
      'behind a trusted proxy get in',
      { allowedAddresses: ['192.0.2.0/24'], trustedProxies: ['127.0.0.1'] },
      { 'x-forwarded-for': '[::ffff:192.0.2.1]:4711' },
      200,
    ],
    [
      'behind a trusted proxy that does not say whom it speaks for are not taken for the proxy',
      { allowedAddresses: ['127.0.0.0/8'], trustedProxies: ['127.0.0.1'] },
      { 'x-forwarded-for': 'unknown' },
      403,
    ],
  ])('%s', async (_name, options, headers, expected) => {
    const { url } = await start(options);
    expect(await statusOf(url, headers)).toBe(expected);
  });

  it('are audited as the caller they are', async () => {
    const { url, audit } = await start({ deniedAddresses: ['192.0.2.0/24'], trustedProxies: ['127.0.0.1'] });
    await statusOf(url, { 'x-forwarded-for': '192.0.2.9' });
    expect(audit.events.at(-1)).toMatchObject({ type: 'request.refused', reason: 'deniedAddresses', remoteAddress: '192.0.2.9' });
  });

  it('have no more than maxConnectionsPerIp connections, and again one when one is closed', async () => {
    const { url, audit } = await start({ maxConnectionsPerIp: 2 });
    const dial = async () => {
      const socket = connect(Number(url.port), url.hostname);
      onTestFinished(() => void socket.destroy());
      const closed = new Promise<'cut'>((resolve) => socket.once('close', () => resolve('cut')));
      const answered = new Promise<'open'>((resolve) => socket.once('data', () => resolve('open')));
      socket.on('error', () => {});
      socket.write('GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n');
      return { socket, state: await Promise.race([closed, answered]) };
    };
    const [first, second, third] = [await dial(), await dial(), await dial()];
    expect([first.state, second.state, third.state]).toEqual(['open', 'open', 'cut']);
    expect(audit.events.at(-1)).toMatchObject({ reason: 'maxConnectionsPerIp', remoteAddress: '127.0.0.1' });
    first.socket.destroy();
    let again = await dial();
    while (again.state === 'cut') {
      await settle();
      again = await dial();
    }
    expect(again.state).toBe('open');
  });

  it('of trusted proxies may have more', async () => {
    const { url } = await start({ maxConnectionsPerIp: 1, trustedProxies: ['127.0.0.1'] });
    const statuses = await Promise.all([1, 2, 3].map(() => statusOf(url, { connection: 'close' })));
    expect(statuses).toEqual([200, 200, 200]);
  });

  it.each<[string, Partial<HttpOptions>]>([
    ['http.allowedAddresses[0]', { allowedAddresses: ['everywhere'] }],
    ['http.deniedAddresses[1]', { deniedAddresses: ['::1', '10.0.0.0/8/8'] }],
    ['http.maxConnectionsPerIp', { maxConnectionsPerIp: 0 }],
  ])('that are none are refused at the start, naming %s', (option, options) => {
    expect(() => http({ port: 0, ...options })).toThrow(expect.objectContaining({ option }));
  });
});
