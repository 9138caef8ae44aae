import { type AuthenticationRequest, ConfigurationError } from '@mcp-blocks/core';
import { ManualClock } from '@mcp-blocks/core/testing';
import { describe, expect, it } from 'vitest';
import { type ApiKeyEntry, apiKeys, generateApiKey, hashApiKey } from '../src/index.js';

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

it.each<[string, readonly ApiKeyEntry[], string]>([
  ['no keys', [], 'apiKeys.keys'],
  ['no id', [{ id: '', hash: hashApiKey('a') }], 'apiKeys.keys[0].id'],
  ['a key where its hash belongs', [{ id: 'a', hash: current }], 'apiKeys.keys[0].hash'],
])('the options refuse %s, without repeating it', (_name, keys, option) => {
  expect(() => apiKeys({ keys })).toThrow(ConfigurationError);
  expect(() => apiKeys({ keys })).toThrow(expect.objectContaining({ option, message: expect.not.stringContaining(current) }));
});
