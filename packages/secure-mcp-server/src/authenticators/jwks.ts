import { createPublicKey, type JsonWebKey } from 'node:crypto';
import { type Clock, ConfigurationError, isJsonObject, type JsonObject, RpcError } from '@mcp-blocks/core';
import { integerOption } from '../options.js';
import { type EndpointOptions, JsonEndpoint } from './json-endpoint.js';
import { fits, type JwtAlgorithm, sizeProblem } from './jwt-algorithms.js';
import { chooseKey, type KeySource, type VerificationKey } from './jwt-keys.js';

/** Options of `jwt({ jwks })`: the key set of an issuer, at a URL (RFC 7517). */
export interface JwksOptions extends EndpointOptions {
  /** Milliseconds a set is used before it is fetched anew. Default: 600 000 (10 minutes). */
  readonly cacheMaxAgeMs?: number;
  /**
   * Milliseconds between two fetches that a token with an unknown `kid` sets off, so that forged ones cannot
   * turn the server against the issuer. Default: 30 000.
   */
  readonly cooldownMs?: number;
  /** Milliseconds beyond `cacheMaxAgeMs` that a set is used while the issuer is out of reach. Default: 3 600 000 (1 hour). */
  readonly staleMaxAgeMs?: number;
}

const DAY_MS = 86_400_000;

/** Milliseconds between attempts while the issuer is out of reach. */
const RETRY_MS = 1000;

/** The keys of a set, fetched when first needed, when old, and once when a token names a key that is not in it. */
export class RemoteKeys implements KeySource {
  readonly #endpoint: JsonEndpoint;
  readonly #algorithms: readonly JwtAlgorithm[];
  readonly #clock: Clock;
  readonly #cacheMaxAgeMs: number;
  readonly #cooldownMs: number;
  readonly #staleMaxAgeMs: number;
  #keys: readonly VerificationKey[] = [];
  #fetchedAt = Number.NEGATIVE_INFINITY;
  #failedAt = Number.NEGATIVE_INFINITY;
  #failure: unknown;
  #missedAt = Number.NEGATIVE_INFINITY;
  #fetching: Promise<boolean> | undefined;

  /** @throws ConfigurationError for a value out of range, and for HMAC algorithms. */
  constructor(options: JwksOptions, algorithms: readonly JwtAlgorithm[], clock: Clock) {
    const secret = algorithms.findIndex((algorithm) => algorithm.startsWith('HS'));
    if (secret >= 0) {
      throw new ConfigurationError(
        `jwt.algorithms[${secret}]`,
        `'${algorithms[secret]}' does not belong to a key set, which holds public keys`,
      );
    }
    this.#endpoint = new JsonEndpoint('jwt.jwks', options, clock);
    this.#cacheMaxAgeMs = integerOption('jwt.jwks.cacheMaxAgeMs', options.cacheMaxAgeMs, { fallback: 600_000, max: DAY_MS });
    this.#cooldownMs = integerOption('jwt.jwks.cooldownMs', options.cooldownMs, { fallback: 30_000, max: DAY_MS });
    this.#staleMaxAgeMs = integerOption('jwt.jwks.staleMaxAgeMs', options.staleMaxAgeMs, { fallback: 3_600_000, min: 0, max: 7 * DAY_MS });
    this.#algorithms = algorithms;
    this.#clock = clock;
  }

  async find(kid: string | undefined, algorithm: JwtAlgorithm): Promise<VerificationKey | undefined> {
    if (this.#ageMs() >= this.#cacheMaxAgeMs) await this.#refresh();
    if (this.#ageMs() >= this.#cacheMaxAgeMs + this.#staleMaxAgeMs) throw this.#unavailable();
    const found = chooseKey(this.#keys, kid, algorithm);
    const now = this.#clock.now();
    if (found !== undefined || (this.#fetching === undefined && now - this.#missedAt < this.#cooldownMs)) return found;
    this.#missedAt = now;
    if (!(await this.#refresh())) {
      // Not known to be forged. The cooldown begins when the issuer has answered.
      this.#missedAt = Number.NEGATIVE_INFINITY;
      throw this.#unavailable();
    }
    return chooseKey(this.#keys, kid, algorithm);
  }

  #ageMs(): number {
    return this.#clock.now() - this.#fetchedAt;
  }

  #unavailable(): RpcError {
    return new RpcError('unavailable', 'Authentication is not available at the moment', {
      auditReason: 'key set out of reach',
      cause: this.#failure,
    });
  }

  /** One fetch for everybody who waits; resolves with whether it brought a set. Never rejects. */
  #refresh(): Promise<boolean> {
    if (this.#clock.now() - this.#failedAt < RETRY_MS) return Promise.resolve(false);
    this.#fetching ??= this.#fetch().finally(() => {
      this.#fetching = undefined;
    });
    return this.#fetching;
  }

  async #fetch(): Promise<boolean> {
    try {
      const { keys } = await this.#endpoint.ask({ headers: { accept: 'application/jwk-set+json, application/json' } });
      if (!Array.isArray(keys)) throw new Error('the answer is not a JSON Web Key Set');
      this.#keys = keys.flatMap((jwk) => this.#verificationKey(jwk) ?? []);
      this.#fetchedAt = this.#clock.now();
      return true;
    } catch (error) {
      this.#failure = error;
      this.#failedAt = this.#clock.now();
      return false;
    }
  }

  /** A key of the set, unless it is for something else (RFC 7517 section 5: what is not understood is ignored). */
  #verificationKey(jwk: unknown): VerificationKey | undefined {
    if (!isJsonObject(jwk) || !isForVerification(jwk)) return undefined;
    try {
      const key = createPublicKey({ key: jwk as JsonWebKey, format: 'jwk' });
      const algorithms = this.#algorithms.filter(
        (algorithm) =>
          (jwk.alg === undefined || jwk.alg === algorithm) && fits(key, algorithm) && sizeProblem(key, algorithm) === undefined,
      );
      return { ...(typeof jwk.kid === 'string' ? { kid: jwk.kid } : {}), key, algorithms };
    } catch {
      return undefined;
    }
  }
}

function isForVerification({ use, key_ops: operations }: JsonObject): boolean {
  return (use === undefined || use === 'sig') && (operations === undefined || (Array.isArray(operations) && operations.includes('verify')));
}
