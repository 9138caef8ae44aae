import { createHash, X509Certificate } from 'node:crypto';
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServer } from 'node:tls';
import { fileURLToPath } from 'node:url';
import { ManualClock } from '@mcp-blocks/core/testing';
import { describe, expect, it, onTestFinished } from 'vitest';
import { encryptedWebSocket, WebSocketClientTransport } from '../src/index.js';
import { certificates, cleanup, connectV2, listening, testHost } from './support.js';

type Pair = 'server' | 'client';

const fingerprint = (name: Pair) => new X509Certificate(certificates[name].cert).fingerprint256;
const spkiPin = (name: Pair) => {
  const key = new X509Certificate(certificates[name].cert).publicKey.export({ type: 'spki', format: 'der' });
  return `sha256/${createHash('sha256').update(key).digest('base64')}`;
};
const tls = (pins: readonly string[]) => ({ ca: certificates.ca, pins });

async function secure() {
  return listening(testHost(), { tls: certificates.server });
}

/** Opens a connection and tells the fingerprint of the certificate the server had: which of the two pins fits. */
async function servedCertificate(url: string): Promise<Pair | undefined> {
  for (const name of ['server', 'client'] as const) {
    const transport = new WebSocketClientTransport(url, { token: 'alice-token', tls: tls([fingerprint(name)]) });
    const opened = await transport.start().then(
      () => true,
      () => false,
    );
    await transport.close();
    if (opened) return name;
  }
  return undefined;
}

describe('a pinned certificate', () => {
  it.each([
    ['its public key', () => [spkiPin('server')]],
    ['its fingerprint as openssl prints it', () => [fingerprint('server')]],
    ['its fingerprint in plain hex', () => [fingerprint('server').replaceAll(':', '').toLowerCase()]],
    ['one of several', () => [spkiPin('client'), fingerprint('client'), spkiPin('server')]],
  ])('is recognised by %s', async (_name, pins) => {
    const { url } = await secure();
    const { client } = await connectV2(url, 'auto', { tls: tls(pins()) });
    expect((await client.listTools()).tools).toHaveLength(1);
  });

  it.each([
    ['public key', () => [spkiPin('client')]],
    ['fingerprint', () => [fingerprint('client'), spkiPin('client')]],
  ])('is refused by another %s, for good and with the pin that would do', async (_name, pins) => {
    const { url } = await secure();
    const transport = new WebSocketClientTransport(url, { token: 'alice-token', tls: tls(pins()) });
    await expect(transport.start()).rejects.toMatchObject({
      name: 'RpcError',
      code: 'forbidden',
      message: expect.stringContaining(spkiPin('server')),
      data: { reason: 'certificate_pin' },
    });
  });

  it('must be valid all the same', async () => {
    const { url } = await secure();
    const transport = new WebSocketClientTransport(url, { token: 'alice-token', tls: { pins: [spkiPin('server')] } });
    await expect(transport.start()).rejects.toMatchObject({ code: 'unavailable' });
    const elsewhere = new URL(url);
    elsewhere.hostname = '127.0.0.2';
    const stranger = new WebSocketClientTransport(elsewhere, { token: 'alice-token', tls: tls([spkiPin('server')]) });
    await expect(stranger.start()).rejects.toMatchObject({ code: 'unavailable' });
  });

  it('is checked before a byte of the request is sent', async () => {
    const received: Buffer[] = [];
    const ended = Promise.withResolvers<void>();
    const server = createServer(certificates.server, (socket) => {
      socket.on('data', (data) => received.push(data));
      socket.on('error', () => {});
    });
    server.on('connection', (socket) => socket.on('close', () => ended.resolve()));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    cleanup(() => new Promise((resolve) => server.close(resolve)));
    const url = `wss://127.0.0.1:${(server.address() as AddressInfo).port}/ws`;
    const transport = new WebSocketClientTransport(url, { token: 'alice-token', tls: tls([spkiPin('client')]) });
    await expect(transport.start()).rejects.toMatchObject({ code: 'forbidden' });
    await ended.promise;
    expect(received).toEqual([]);
    // The same server sees everything when the pin is right.
    const trusting = new WebSocketClientTransport(url, { token: 'alice-token', tls: tls([spkiPin('server')]) });
    const started = expect(trusting.start()).rejects.toMatchObject({ code: 'unavailable' });
    while (received.length === 0) await new Promise((resolve) => setImmediate(resolve));
    expect(String(received[0])).toContain('alice-token');
    await trusting.close();
    await started;
  });

  it.each([
    ['tls.pins', 'wss://localhost/ws', []],
    ['tls.pins[0]', 'wss://localhost/ws', ['sha256/tooshort=']],
    ['tls.pins[1]', 'wss://localhost/ws', ['00'.repeat(32), '00'.repeat(31)]],
    ['tls.pins', 'ws://localhost/ws', ['00'.repeat(32)]],
  ])('as %s of %s is refused by the constructor: %j', (option, url, pins) => {
    expect(() => new WebSocketClientTransport(url, { tls: { pins } })).toThrow(
      expect.objectContaining({ code: 'invalid_configuration', option }),
    );
  });
});

describe('the certificate of a port of its own', () => {
  it('changes for new connections while open ones go on', async () => {
    const { url, listener } = await secure();
    const { client } = await connectV2(url, 'auto', { tls: { ca: certificates.ca } });
    expect(await servedCertificate(url)).toBe('server');
    listener.reloadTls(certificates.client);
    expect(await servedCertificate(url)).toBe('client');
    expect((await client.listTools()).tools).toHaveLength(1);
  });

  it('is read again from its files by itself, and a broken pair changes nothing', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'mcp-blocks-ws-'));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const files = { certFile: join(folder, 'tls.pem'), keyFile: join(folder, 'tls.key') };
    const put = (name: Pair) => {
      for (const [file, ending] of [
        [files.certFile, 'pem'],
        [files.keyFile, 'key'],
      ] as const) {
        copyFileSync(fileURLToPath(new URL(`fixtures/test-only-${name}.${ending}`, import.meta.url)), file);
      }
    };
    put('server');
    const clock = new ManualClock(Date.now());
    const host = testHost();
    const { url, listener } = await listening(host, { clock, tls: { ...files, reloadIntervalMs: 60_000 } });
    put('client');
    expect(await servedCertificate(url)).toBe('server');
    await clock.advance(60_000);
    expect(await servedCertificate(url)).toBe('client');
    writeFileSync(files.keyFile, 'half a key');
    await clock.advance(60_000);
    expect(host.errors).toEqual([expect.objectContaining({ option: 'tls' })]);
    expect(() => listener.reloadTls()).toThrow(expect.objectContaining({ option: 'tls' }));
    expect(await servedCertificate(url)).toBe('client');
    await listener.close();
    expect(clock.pendingTimers).toBe(0);
  });

  it('cannot be reloaded where there is none', async () => {
    const { listener } = await listening();
    expect(() => listener.reloadTls(certificates.server)).toThrow(expect.objectContaining({ option: 'tls' }));
  });

  it.each([
    ['tls', { ...certificates.server, key: certificates.client.key }],
    ['tls.cert', { key: certificates.server.key }],
    ['tls.clientCertificates.ca', { ...certificates.server, clientCertificates: { ca: [] } }],
    ['tls.reloadIntervalMs', { ...certificates.server, reloadIntervalMs: 1_000 }],
  ])('is refused by the constructor when %s is wrong', (option, options) => {
    expect(() => encryptedWebSocket({ tls: options })).toThrow(expect.objectContaining({ code: 'invalid_configuration', option }));
  });
});

describe('a certificate of the client', () => {
  const wanted = { ...certificates.server, clientCertificates: { ca: certificates.ca, required: false } };
  const host = () => {
    const seen: (string | undefined)[] = [];
    return {
      seen,
      host: testHost({
        authenticate: async ({ clientCertificate }) => {
          seen.push(clientCertificate?.fingerprint256);
          return { id: String(clientCertificate?.subject.CN ?? 'nobody'), authentication: 'test', roles: [], scopes: [] };
        },
      }),
    };
  };

  it('reaches the authenticator, and is not needed where it is optional', async () => {
    const { host: testing, seen } = host();
    const { url } = await listening(testing, { tls: wanted });
    await connectV2(url, 'auto', { tls: { ca: certificates.ca, ...certificates.client } });
    await connectV2(url, 'auto', { tls: { ca: certificates.ca } });
    expect(seen).toEqual([fingerprint('client').replaceAll(':', '').toLowerCase(), undefined]);
  });

  it('that nobody trusted has signed is hung up on, and that is audited', async () => {
    const { host: testing, seen } = host();
    // Only the server's own certificate counts as an authority: the client's has been signed by another.
    const clientCertificates = { ca: certificates.server.cert, required: false };
    const { url } = await listening(testing, { tls: { ...certificates.server, clientCertificates } });
    const transport = new WebSocketClientTransport(url, { tls: { ca: certificates.ca, ...certificates.client } });
    await expect(transport.start()).rejects.toMatchObject({ code: 'unavailable' });
    expect(seen).toEqual([]);
    expect(testing.audited).toMatchObject([{ type: 'ws.refused', reason: expect.stringContaining('client certificate') }]);
  });
});
