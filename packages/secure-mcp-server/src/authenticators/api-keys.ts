import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { type Authenticator, type Clock, ConfigurationError, type Principal, systemClock } from '@mcp-blocks/core';
import { invalidToken } from '../authentication.js';
import { bearerToken } from './bearer.js';
import { isJwtShaped } from './compact-token.js';

/** One accepted API key. */
export interface ApiKeyEntry {
  /** Whose key it is: the principal's id. Several keys of one id are valid side by side, which is how keys are rotated. */
  readonly id: string;
  /** `sha256:` and 64 hexadecimal digits, as {@link hashApiKey} makes it. The key itself is stored nowhere. */
  readonly hash: string;
  /** What the owner of the key is. */
  readonly principal?: Partial<Pick<Principal, 'roles' | 'scopes' | 'clientId' | 'attributes'>>;
  /** Epoch milliseconds after which the key is void. Default: never. */
  readonly expiresAt?: number;
}

/** Options of {@link apiKeys}. `keys`, `lookup` or both are given. */
export interface ApiKeysOptions {
  /** Keys from the configuration. */
  readonly keys?: readonly ApiKeyEntry[];
  /**
   * Finds the entry of a key that is not among `keys`, in a store that has the hashes as its index; `undefined`
   * when it is unknown. Asked anew for each request, so that what it forgets is void at once. While it fails,
   * callers get `unavailable`.
   */
  readonly lookup?: (hash: string) => Promise<ApiKeyEntry | undefined>;
  readonly clock?: Clock;
}

const PREFIX = 'sha256:';

/**
 * Authenticates `X-API-Key: <key>`, and `Authorization: Bearer <key>` for clients that can send nothing
 * else. Keys are kept as SHA-256 hashes, which is enough for random keys of {@link generateApiKey} and
 * not for anything a person made up; comparison takes the same time for every key of the configuration, and
 * a store sees hashes only.
 *
 * @throws ConfigurationError for an entry without id, or whose hash is not of the form above.
 */
export function apiKeys(options: ApiKeysOptions): Authenticator {
  const { clock = systemClock, keys = [], lookup } = options;
  if (keys.length === 0 && lookup === undefined) throw new ConfigurationError('apiKeys.keys', 'expected at least one key, or lookup');
  const entries = keys.map((entry, index) => {
    if (typeof entry.id !== 'string' || entry.id === '')
      throw new ConfigurationError(`apiKeys.keys[${index}].id`, 'expected a non-empty string');
    // The bad value is not repeated: it could be a key put in the wrong place.
    if (!/^sha256:[\da-f]{64}$/i.test(entry.hash)) {
      throw new ConfigurationError(`apiKeys.keys[${index}].hash`, "expected 'sha256:' and 64 hexadecimal digits");
    }
    return { entry, hash: Buffer.from(entry.hash.slice(PREFIX.length), 'hex') };
  });
  const find = async (key: string): Promise<ApiKeyEntry | undefined> => {
    const presented = sha256(key);
    let found: ApiKeyEntry | undefined;
    for (const { entry, hash } of entries) if (timingSafeEqual(presented, hash)) found = entry;
    if (found !== undefined || lookup === undefined) return found;
    const stored = await lookup(PREFIX + presented.toString('hex'));
    // A store that compares loosely, by prefix or without case, must not decide.
    return stored !== undefined && stored.id !== '' && stored.hash.toLowerCase() === PREFIX + presented.toString('hex')
      ? stored
      : undefined;
  };
  return {
    name: 'api-key',
    async authenticate(request): Promise<Principal | undefined> {
      const own = request.header('x-api-key');
      const bearer = bearerToken(request);
      const key = own ?? (bearer !== undefined && !isJwtShaped(bearer) ? bearer : undefined);
      if (key === undefined) return undefined;
      const entry = await find(key);
      if (entry === undefined) {
        // A bearer token may be another authenticator's; an API key is nobody else's.
        if (own === undefined) return undefined;
        throw invalidToken('The API key is not valid', 'unknown API key');
      }
      if (entry.expiresAt !== undefined && entry.expiresAt <= clock.now()) throw invalidToken('The API key has expired', 'expired API key');
      return {
        id: entry.id,
        authentication: 'api-key',
        roles: [],
        scopes: [],
        ...entry.principal,
        ...(entry.expiresAt === undefined ? {} : { expiresAt: entry.expiresAt }),
      };
    },
  };
}

/** A new API key: `mcpk_` and 256 random bits. Show it to its owner once and keep only its hash. */
export function generateApiKey(): string {
  return `mcpk_${randomBytes(32).toString('base64url')}`;
}

/** The form in which {@link apiKeys} takes a key. */
export function hashApiKey(key: string): string {
  return PREFIX + sha256(key).toString('hex');
}

function sha256(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
