import { type AuthenticationRequest, ConfigurationError } from '@mcp-blocks/core';
import { ManualClock } from '@mcp-blocks/core/testing';
import { describe, expect, it } from 'vitest';
import { type ApiKeyEntry, apiKeys, generateApiKey, hashApiKey } from '../src/index.js';
import { callTool, startHttp, testService } from './support/server.js';

const from = (headers: Record<string, string>): AuthenticationRequest => ({ transport: 'http', header: (name) => headers[name] });
const current = generateApiKey();
const next = generateApiKey();
const old = generateApiKey();
const clock = new ManualClock();
const authenticator = apiKeys({
  clock,
  keys: [
    { id: 'billing', hash: hashApiKey(current), principal: { roles: ['agent'], scopes: ['read'], attributes: { team: 'blue' } } },
    { id: 'billing', hash: hashApiKey(next), principal: { roles: ['agent'] }, expiresAt: clock.now() + 1000 },
    { id: 'billing', hash: hashApiKey(old), expiresAt: clock.now() },
  ],
});

describe('an API key', () => {
  it('names its owner, in X-API-Key or as a bearer token', async () => {
    const principal = { id: 'billing', authentication: 'api-key', roles: ['agent'], scopes: ['read'], attributes: { team: 'blue' } };
    expect(await authenticator.authenticate(from({ 'x-api-key': current }))).toEqual(principal);
    expect(await authenticator.authenticate(from({ authorization: `Bearer ${current}` }))).toEqual(principal);
  });

  it('is valid beside the one that replaces it', async () => {
    expect(await authenticator.authenticate(from({ 'x-api-key': next }))).toMatchObject({ id: 'billing', expiresAt: clock.now() + 1000 });
  });

  it.each([
    ['expired', old, 'The API key has expired'],
    ['unknown', generateApiKey(), 'The API key is not valid'],
    ['empty', '', 'The API key is not valid'],
    ['its own hash', hashApiKey(current), 'The API key is not valid'],
    ['a prefix', current.slice(0, -1), 'The API key is not valid'],
  ])('is refused when it is %s', async (_name, key, message) => {
    await expect(authenticator.authenticate(from({ 'x-api-key': key }))).rejects.toMatchObject({ code: 'unauthenticated', message });
  });

  it('that nobody knows is left to others when it is a bearer token, as are JWTs', async () => {
    expect(await authenticator.authenticate(from({ authorization: 'Bearer opaque' }))).toBeUndefined();
    expect(await authenticator.authenticate(from({ authorization: 'Bearer a.b.c' }))).toBeUndefined();
    expect(await authenticator.authenticate(from({}))).toBeUndefined();
  });

  it('is random, recognisable and never the same', () => {
    const keys = Array.from({ length: 100 }, generateApiKey);
    expect(new Set(keys).size).toBe(100);
    for (const key of keys) expect(key).toMatch(/^mcpk_[\w-]{43}$/);
  });
});

describe('keys in a store', () => {
  const store = new Map<string, ApiKeyEntry>([
    [hashApiKey(current), { id: 'stored', hash: hashApiKey(current), expiresAt: clock.now() + 1 }],
  ]);
  const asked: string[] = [];
  const stored = apiKeys({
    clock,
    keys: [{ id: 'configured', hash: hashApiKey(next) }],
    lookup: async (hash) => {
      asked.push(hash);
      return store.get(hash);
    },
  });
  const present = (key: string) => stored.authenticate(from({ 'x-api-key': key }));

  it('are looked up by their hash, those of the configuration are not', async () => {
    expect(await present(current)).toMatchObject({ id: 'stored', expiresAt: clock.now() + 1 });
    expect(await present(next)).toMatchObject({ id: 'configured' });
    expect(asked).toEqual([hashApiKey(current)]);
  });

  it('are void at once when the store forgets them', async () => {
    store.delete(hashApiKey(current));
    await expect(present(current)).rejects.toMatchObject({ code: 'unauthenticated', message: 'The API key is not valid' });
  });

  it('expire', async () => {
    store.set(hashApiKey(old), { id: 'stored', hash: hashApiKey(old), expiresAt: clock.now() });
    await expect(present(old)).rejects.toMatchObject({ message: 'The API key has expired' });
  });

  it('are those that were asked for, whatever the store answers', async () => {
    const careless = apiKeys({ lookup: async () => ({ id: 'first row', hash: hashApiKey(current) }) });
    expect(await careless.authenticate(from({ 'x-api-key': current }))).toMatchObject({ id: 'first row' });
    await expect(careless.authenticate(from({ 'x-api-key': next }))).rejects.toMatchObject({ code: 'unauthenticated' });
  });

  it('let nobody in while the store fails', async () => {
    const service = testService().service;
    const lookup = () => Promise.reject(new Error('the store is down'));
    const { url, errors } = await startHttp({ service, authenticators: [apiKeys({ lookup })] });
    const response = await fetch(url, callTool('whoami', {}, { authorization: '', 'x-api-key': current }));
    expect(response.status).toBe(503);
    expect(errors.map(({ message }) => message)).toEqual(['the store is down']);
  });
});

it.each<[string, readonly ApiKeyEntry[], string]>([
  ['no keys', [], 'apiKeys.keys'],
  ['no id', [{ id: '', hash: hashApiKey('a') }], 'apiKeys.keys[0].id'],
  ['a key where its hash belongs', [{ id: 'a', hash: current }], 'apiKeys.keys[0].hash'],
])('the options refuse %s, without repeating it', (_name, keys, option) => {
  expect(() => apiKeys({ keys })).toThrow(ConfigurationError);
  expect(() => apiKeys({ keys })).toThrow(expect.objectContaining({ option, message: expect.not.stringContaining(current) }));
});
