import { type Principal, RpcError } from '@mcp-blocks/core';
import { testPrincipal } from '@mcp-blocks/core/testing';
import { Client } from '@modelcontextprotocol/client';
import { Client as V1Client } from '@modelcontextprotocol/sdk/client/index.js';
import { describe, expect, it } from 'vitest';
import * as browser from '../src/browser.js';
import * as node from '../src/index.js';
import { CIPHERS, clientKeys, clientNoise, nameOf, open, PATTERNS, sealed, serverKeys } from './noise-support.js';
import { certificates, cleanup, modernRequest, testHost, toolService, until } from './support.js';

describe.each([
  ['Node', node.WebSocketClientTransport],
  ['browser', browser.WebSocketClientTransport],
] as const)('inside Noise, from the end of a %s,', (_end, Transport) => {
  describe.each(PATTERNS.flatMap((pattern) => CIPHERS.map((cipher) => [pattern, cipher] as const)))('%s with %s', (pattern, cipher) => {
    const noise = () => clientNoise(pattern, { protocol: nameOf(pattern, cipher) });

    it.each(['auto', 'legacy'] as const)('an SDK v2 client in mode %s calls tools, small and large', async (mode) => {
      const { url } = await sealed(testHost({ maxMessageBytes: 1_048_576 }));
      const client = new Client({ name: 'test', version: '1' }, { versionNegotiation: { mode } });
      cleanup(() => client.close());
      await client.connect(new Transport(url, { token: 'alice-token', noise: noise() }));
      expect(JSON.stringify(await client.callTool({ name: 'echo', arguments: { text: 'häß€😀' } }))).toContain('häß€😀');
      const pad = 'p'.repeat(300_000);
      const large = await client.callTool({ name: 'blob', arguments: { value: 200_000, pad } });
      expect(large.content).toEqual([{ type: 'text', text: 'x'.repeat(200_000) }]);
      const seen: number[] = [];
      await client.callTool({ name: 'progress' }, { onprogress: ({ progress }) => seen.push(progress) });
      expect(seen).toEqual([1, 2]);
    });

    it('an SDK v1 client calls tools', async () => {
      const { url } = await sealed();
      const client = new V1Client({ name: 'test', version: '1' });
      cleanup(() => client.close());
      await client.connect(new Transport(url, { token: 'bob-token', noise: noise() }) as never);
      expect(JSON.stringify(await client.callTool({ name: 'echo', arguments: {} }))).toContain('bob websocket 2025-11-25');
    });
  });
});

describe('both ends know the same of a connection', () => {
  it.each(PATTERNS)('%s', async (pattern) => {
    const { url, listener } = await sealed(testHost(), { newSessionId: () => 'connection-7' });
    const { transport } = open(url, { noise: clientNoise(pattern) });
    await transport.start();
    const ofClient = transport.getSessionInfo();
    const ofServer = listener.getSessionInfo('connection-7');
    expect(ofClient).toEqual({
      sessionId: 'connection-7',
      secure: false,
      protocol: `mcp.${nameOf(pattern)}`,
      algorithm: nameOf(pattern),
      keyId: expect.stringMatching(/^[\da-f]{16}-0-0$/),
      peerKey: serverKeys.publicKey,
      forwardSecrecy: true,
    });
    expect(ofServer).toEqual({ ...ofClient, peerKey: pattern === 'NK' ? undefined : clientKeys.publicKey });
    expect(listener.getSessionInfo('another')).toBeUndefined();
    await transport.close();
    await until(() => listener.getSessionInfo('connection-7') === undefined);
  });

  it('inside TLS too', async () => {
    const { url, listener } = await sealed(testHost(), { tls: certificates.server, newSessionId: () => 's' });
    const { transport } = open(url, { noise: clientNoise('IK'), tls: { ca: certificates.ca } });
    await transport.start();
    expect([transport.getSessionInfo()?.secure, listener.getSessionInfo('s')?.secure]).toEqual([true, true]);
  });
});

describe('who the client is', () => {
  /** Takes the key alone for an identity, where there is no token. */
  function keyHost() {
    const principals: Principal[] = [];
    const tools = toolService();
    const host = testHost({
      service: {
        ...tools.service,
        handler: (request, context) => {
          principals.push(context.principal);
          return tools.service.handler(request, context);
        },
      },
      authenticate: async ({ clientKey, header, clientCertificate }) => {
        if (header('authorization') !== undefined) return testPrincipal({ id: `token ${header('x-tenant') ?? 'of nobody'}` });
        if (clientKey === clientKeys.publicKey && clientCertificate === undefined) return testPrincipal({ id: 'key' });
        throw new RpcError('unauthenticated', 'Who are you?');
      },
    });
    return { host, principals };
  }

  it.each(['XK', 'IK', 'XX'] as const)('is its key with %s, which is in the principal', async (pattern) => {
    const { host, principals } = keyHost();
    const { url } = await sealed(host);
    const transport = new node.WebSocketClientTransport(url, { noise: clientNoise(pattern) });
    cleanup(() => transport.close());
    await transport.start();
    await transport.send(JSON.parse(modernRequest(1, 'tools/call', { name: 'echo' })));
    await until(() => principals.length === 1);
    expect(principals).toMatchObject([{ id: 'key', clientKey: clientKeys.publicKey }]);
  });

  it('is its token where there is one, and the key is recorded', async () => {
    const { host, principals } = keyHost();
    const { url } = await sealed(host);
    const { call, transport } = open(url, { noise: clientNoise('IK'), headers: { 'X-Tenant': 'acme' } });
    await transport.start();
    await call(1, 'echo');
    await until(() => principals.length === 1);
    expect(principals).toMatchObject([{ id: 'token acme', clientKey: clientKeys.publicKey }]);
  });

  it('is nobody with NK and no token', async () => {
    const { host } = keyHost();
    const { url } = await sealed(host);
    const transport = new node.WebSocketClientTransport(url, { noise: clientNoise('NK') });
    await expect(transport.start()).rejects.toMatchObject({ code: 'unauthenticated', data: { closeCode: 4401 } });
  });

  it('is not told by the certificate of TLS, which may be the one of a proxy', async () => {
    const { host } = keyHost();
    const tls = { ...certificates.server, clientCertificates: { ca: certificates.ca } };
    const { url } = await sealed(host, { tls });
    const transport = new node.WebSocketClientTransport(url, {
      noise: clientNoise('IK'),
      tls: { ca: certificates.ca, ...certificates.client },
    });
    cleanup(() => transport.close());
    await transport.start();
    expect(host.active.count).toBe(1);
  });
});
