import { createPrivateKey, createSecretKey, type KeyObject, randomUUID } from 'node:crypto';
import { type Clock, ConfigurationError, type Principal } from '@mcp-blocks/core';
import { SignJWT } from 'jose';
import type { CredentialsProvider } from '../upstream/connection-pool.js';
import { tokenExchange } from '../upstream/token-exchange.js';
import type { ServiceEntry } from './config/schema.js';
import { at } from './configuration-path.js';

type CredentialsEntry = NonNullable<ServiceEntry['credentials']>;
type ExchangeEntry = NonNullable<CredentialsEntry['tokenExchange']>;

const LIFETIME_SECONDS = 60;

/** What the gateway presents to the nodes of a service. @throws ConfigurationError naming the option of the file. */
export function upstreamCredentials(
  path: string,
  { bearer, headers, tokenExchange: exchange }: CredentialsEntry,
  clock: Clock,
): CredentialsProvider {
  if (exchange !== undefined) return exchanged(`${path}.tokenExchange`, exchange, clock);
  const own = headers ?? { authorization: `Bearer ${bearer}` };
  for (const [name, value] of Object.entries(own)) {
    at(path, () => checkHeader(name, value, headers === undefined ? 'bearer' : `headers.${name}`));
  }
  return () => ({ headers: own });
}

function checkHeader(name: string, value: string, option: string): void {
  if (!/^[\w!#$%&'*+.^`|~-]+$/.test(name)) throw new ConfigurationError(option, 'is not the name of a header');
  if (!/^[\t\x20-\x7e]+$/.test(value)) throw new ConfigurationError(option, 'holds what no header can carry');
}

function exchanged(path: string, { subject, ...options }: ExchangeEntry, clock: Clock): CredentialsProvider {
  const key = at(`${path}.subject`, () => signingKey(subject));
  const { algorithm, keyId, issuer, audience = options.tokenUrl, lifetimeSeconds = LIFETIME_SECONDS } = subject;
  const sign = ({ id, issuer: idp, authentication }: Principal) => {
    const now = Math.floor(clock.now() / 1000);
    return new SignJWT({ idp: idp ?? authentication })
      .setProtectedHeader({ alg: algorithm, typ: 'JWT', ...(keyId === undefined ? {} : { kid: keyId }) })
      .setIssuer(issuer)
      .setSubject(id)
      .setAudience(audience)
      .setIssuedAt(now)
      .setExpirationTime(now + lifetimeSeconds)
      .setJti(randomUUID())
      .sign(key);
  };
  return at(path, () => tokenExchange({ ...options, clock, subjectToken: async (principal) => ({ token: await sign(principal) }) }));
}

const KEY_TYPES: Readonly<Record<string, string>> = { RS256: 'rsa', PS256: 'rsa', ES256: 'ec', EdDSA: 'ed25519' };

function signingKey({ key, algorithm, lifetimeSeconds }: ExchangeEntry['subject']): KeyObject {
  if (lifetimeSeconds !== undefined && (lifetimeSeconds < 1 || lifetimeSeconds > 3600)) {
    throw new ConfigurationError('lifetimeSeconds', `expected 1 to 3600, got ${lifetimeSeconds}`);
  }
  if (algorithm === 'HS256') {
    if (Buffer.byteLength(key) < 32) throw new ConfigurationError('key', 'expected at least 32 bytes for HS256');
    return createSecretKey(Buffer.from(key));
  }
  let own: KeyObject;
  try {
    own = createPrivateKey(key);
  } catch {
    throw new ConfigurationError('key', `expected a private key in PEM for ${algorithm}`);
  }
  if (own.asymmetricKeyType !== KEY_TYPES[algorithm]) {
    throw new ConfigurationError('key', `expected a key of type ${KEY_TYPES[algorithm]} for ${algorithm}, got ${own.asymmetricKeyType}`);
  }
  if (algorithm === 'ES256' && own.asymmetricKeyDetails?.namedCurve !== 'prime256v1') {
    throw new ConfigurationError('key', 'expected a key on the curve P-256 for ES256');
  }
  return own;
}
