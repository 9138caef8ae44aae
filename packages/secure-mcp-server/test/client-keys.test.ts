import type { AuthenticationRequest, Principal } from '@mcp-blocks/core';
import { ManualClock } from '@mcp-blocks/core/testing';
import {
  encryptedWebSocket,
  generateNoiseKeys,
  type NoiseProtocolName,
  type WebSocketClientOptions,
  WebSocketClientTransport,
} from '@mcp-blocks/encrypted-websocket';
import { Client } from '@modelcontextprotocol/client';
import { describe, expect, it, onTestFinished } from 'vitest';
import { type ApiKeyEntry, apiKeys, clientKeys, generateApiKey, hashApiKey, http, SecureMCPServer } from '../src/index.js';

const server = generateNoiseKeys();
const current = generateNoiseKeys();
const next = generateNoiseKeys();
const old = generateNoiseKeys();
const stranger = generateNoiseKeys();
const clock = new ManualClock();
const from = (clientKey?: string): AuthenticationRequest => ({
  transport: 'websocket',
  header: () => undefined,
  ...(clientKey === undefined ? {} : { clientKey }),
});

describe('a client key', () => {
  const principal = { roles: ['agent'], scopes: ['read'], attributes: { team: 'blue' } };
  const authenticator = clientKeys({
    clock,
    keys: [
      { id: 'billing', publicKey: current.publicKey, principal },
      { id: 'billing', publicKey: next.publicKey, expiresAt: clock.now() + 1000 },
      { id: 'billing', publicKey: old.publicKey, expiresAt: clock.now() },
    ],
  });

  it('names its owner, beside the one that replaces it', async () => {
    expect(await authenticator.authenticate(from(current.publicKey))).toEqual({
      id: 'billing',
      authentication: 'client-key',
      ...principal,
    });
    expect(await authenticator.authenticate(from(next.publicKey))).toMatchObject({
      id: 'billing',
      roles: [],
      expiresAt: clock.now() + 1000,
    });
  });

  it.each([
    ['unknown', stranger.publicKey, 'unknown client key'],
    ['expired', old.publicKey, 'expired client key'],
    ['empty', '', 'unknown client key'],
  ])('is refused when it is %s', async (_name, key, auditReason) => {
    await expect(authenticator.authenticate(from(key))).rejects.toMatchObject({ code: 'unauthenticated', auditReason });
  });

  it('that was not presented is left to others', async () => {
    expect(await authenticator.authenticate(from())).toBeUndefined();
  });
});

it.each([
  ['clientKeys.keys', []],
  ['clientKeys.keys[0].id', [{ id: '', publicKey: current.publicKey }]],
  [
    'clientKeys.keys[1].publicKey',
    [
      { id: 'a', publicKey: current.publicKey },
      { id: 'b', publicKey: `${next.publicKey}=` },
    ],
  ],
  ['clientKeys.keys[0].publicKey', [{ id: 'a', publicKey: `${'A'.repeat(42)}B` }]],
  [
    'clientKeys.keys[1].publicKey',
    [
      { id: 'a', publicKey: current.publicKey },
      { id: 'b', publicKey: current.publicKey },
    ],
  ],
])('names %s when it is wrong', (option, keys) => {
  expect(() => clientKeys({ keys })).toThrow(expect.objectContaining({ code: 'invalid_configuration', option }));
});

describe('on a server', () => {
  const apiKey = generateApiKey();
  const entries: ApiKeyEntry[] = [{ id: 'ada', hash: hashApiKey(apiKey) }];
  const protocols: NoiseProtocolName[] = ['Noise_NK_25519_AESGCM_SHA256', 'Noise_IK_25519_AESGCM_SHA256'];

  async function start() {
    const callers: Principal[] = [];
    const upgrade = encryptedWebSocket({ noise: { protocols, privateKey: server.privateKey } });
    const secured = new SecureMCPServer({
      service: {
        info: { name: 'whoami', version: '1', capabilities: { tools: {} } },
        handler: async (_request, { principal }) => {
          callers.push(principal);
          return { content: [] };
        },
      },
      listeners: [http({ port: 0, upgrades: [upgrade] })],
      authenticators: [apiKeys({ keys: entries }), clientKeys({ keys: [{ id: 'laptop', publicKey: current.publicKey }] })],
      audit: { record: () => {}, flush: async () => {}, close: async () => {} },
    });
    onTestFinished(() => secured.stop());
    await secured.start();
    const call = async (options: WebSocketClientOptions) => {
      const client = new Client({ name: 'test', version: '1' }, { versionNegotiation: { mode: 'auto' } });
      const url = secured.endpoints.find((endpoint) => endpoint.startsWith('ws:')) as string;
      onTestFinished(() => client.close());
      await client.connect(new WebSocketClientTransport(url, options));
      await client.callTool({ name: 'whoami' });
      return callers.at(-1);
    };
    return { call };
  }

  const noise = (protocol: NoiseProtocolName | undefined, privateKey?: string) => ({
    protocol: protocol as NoiseProtocolName,
    serverPublicKey: server.publicKey,
    ...(privateKey === undefined ? {} : { privateKey }),
  });

  it('is enough by itself; with a token the principal is that of the token, the key recorded', async () => {
    const { call } = await start();
    const byKey = noise(protocols[1], current.privateKey);
    expect(await call({ noise: byKey })).toMatchObject({ id: 'laptop', authentication: 'client-key', clientKey: current.publicKey });
    const both = await call({ noise: byKey, headers: { 'x-api-key': apiKey } });
    expect(both).toMatchObject({ id: 'ada', authentication: 'api-key', clientKey: current.publicKey });
    const byToken = await call({ noise: noise(protocols[0]), headers: { 'x-api-key': apiKey } });
    expect(byToken).toEqual({ id: 'ada', authentication: 'api-key', roles: [], scopes: [] });
  });

  it('is refused when it is a strange one, or there is none', async () => {
    const { call } = await start();
    await expect(call({ noise: noise(protocols[1], stranger.privateKey) })).rejects.toMatchObject({ code: 'unauthenticated' });
    await expect(call({ noise: noise(protocols[0]) })).rejects.toMatchObject({ code: 'unauthenticated' });
  });
});
