import { type Authenticator, type Clock, ConfigurationError, type Principal, systemClock } from '@mcp-blocks/core';
import { invalidToken } from '../authentication.js';

/** One accepted public key. */
export interface ClientKeyEntry {
  /** Whose key it is: the principal's id. Several keys of one id are valid side by side, which is how keys are rotated. */
  readonly id: string;
  /** Curve25519, base64url without padding: 43 characters. */
  readonly publicKey: string;
  /** What the owner of the key is. */
  readonly principal?: Partial<Pick<Principal, 'roles' | 'scopes' | 'clientId' | 'attributes'>>;
  /** Epoch milliseconds after which the key is void, on open connections too. Default: never. */
  readonly expiresAt?: number;
}

/** Options of {@link clientKeys}. */
export interface ClientKeysOptions {
  readonly keys: readonly ClientKeyEntry[];
  readonly clock?: Clock;
}

/** 32 bytes: the last of 43 characters holds 4 bits, so that a key has one spelling. */
const PUBLIC_KEY = /^[\w-]{42}[AEIMQUYcgkosw048]$/;

/**
 * Authenticates by the static key that the client proved to own inside a Noise channel: a WebSocket with the
 * option `noise` and pattern XK, IK or XX. The keys are public, and the channel has done the proving; they are
 * only looked up here.
 *
 * Where keys only protect the connection and tokens say who calls, put the authenticator of the tokens first: the
 * principal is then the token's, and has the key as `clientKey`.
 *
 * @throws ConfigurationError for an entry without id, a key that is none, and one that is there twice.
 */
export function clientKeys({ keys, clock = systemClock }: ClientKeysOptions): Authenticator {
  if (keys.length === 0) throw new ConfigurationError('clientKeys.keys', 'expected at least one key');
  const entries = new Map<string, ClientKeyEntry>();
  for (const [index, entry] of keys.entries()) {
    if (typeof entry.id !== 'string' || entry.id === '') {
      throw new ConfigurationError(`clientKeys.keys[${index}].id`, 'expected a non-empty string');
    }
    // The bad value is not repeated: it could be a private key put in the wrong place.
    if (!PUBLIC_KEY.test(entry.publicKey)) {
      throw new ConfigurationError(`clientKeys.keys[${index}].publicKey`, 'expected 32 bytes in base64url without padding (43 characters)');
    }
    if (entries.has(entry.publicKey)) throw new ConfigurationError(`clientKeys.keys[${index}].publicKey`, 'is there twice');
    entries.set(entry.publicKey, entry);
  }
  return {
    name: 'client-key',
    async authenticate({ clientKey }): Promise<Principal | undefined> {
      if (clientKey === undefined) return undefined;
      const entry = entries.get(clientKey);
      if (entry === undefined) throw invalidToken('The key of the client is not known here', 'unknown client key');
      if (entry.expiresAt !== undefined && entry.expiresAt <= clock.now()) {
        throw invalidToken('The key of the client has expired', 'expired client key');
      }
      return {
        id: entry.id,
        authentication: 'client-key',
        roles: [],
        scopes: [],
        ...entry.principal,
        ...(entry.expiresAt === undefined ? {} : { expiresAt: entry.expiresAt }),
      };
    },
  };
}
