import { testPrincipal } from '@mcp-blocks/core/testing';
import { expect, it } from 'vitest';
import { identityKey } from '../src/upstream/identity.js';

const alice = testPrincipal({ id: 'alice', roles: ['agent', 'admin'], scopes: ['read'] });

it('shares connections and lists between calls of one person with the same rights', () => {
  expect(identityKey({ ...alice, roles: ['admin', 'agent'] })).toBe(identityKey(alice));
});

it.each([
  ['another person', { id: 'bob' }],
  ['another issuer', { issuer: 'https://other.test' }],
  ['another client', { clientId: 'cli' }],
  ['fewer roles', { roles: ['agent'] }],
  ['more scopes', { scopes: ['read', 'write'] }],
  ['other attributes', { attributes: { tenant: 'b' } }],
  ['another Noise key', { clientKey: 'A'.repeat(43) }],
])('keeps apart %s', (_what, other) => {
  expect(identityKey({ ...alice, ...other })).not.toBe(identityKey(alice));
});
