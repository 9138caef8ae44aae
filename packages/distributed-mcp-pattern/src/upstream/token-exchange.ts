import {
  type Clock,
  ConfigurationError,
  isJsonObject,
  isLoopbackAddress,
  type JsonObject,
  type Principal,
  RpcError,
  type ServiceNode,
  systemClock,
} from '@mcp-blocks/core';
import type { CredentialsProvider, NodeCredentials } from './connection-pool.js';
import { identityKey } from './identity.js';

/** What the exchange is told of the person the gateway acts for. */
export interface SubjectToken {
  /** A token of the gateway's own making or getting that names the person. Not the one the caller presented. */
  readonly token: string;
  /** RFC 8693, section 3. Default: `urn:ietf:params:oauth:token-type:jwt`. */
  readonly type?: string;
}

/** Options of {@link tokenExchange}. */
export interface TokenExchangeOptions {
  /** The authorization server's token endpoint: `https://…`, or `http://…` on loopback. */
  readonly tokenUrl: string;
  readonly clientId: string;
  readonly clientSecret: string;
  /** Names the person: usually a short-lived JWT that the gateway signs. */
  readonly subjectToken: (principal: Principal, node: ServiceNode) => SubjectToken | Promise<SubjectToken>;
  /** Logical name of the service the token is for. */
  readonly audience?: string;
  /** URI of the service the token is for (RFC 8707). */
  readonly resource?: string;
  /** Scopes to ask for, separated by spaces. */
  readonly scope?: string;
  /** How long the endpoint may take, in milliseconds; 1 or more. Default: 10,000. */
  readonly timeoutMs?: number;
  readonly clock?: Clock;
}

interface Issued {
  readonly token: string;
  readonly expiresAt: number;
}

const MAX_TOKENS = 10_000;
const MAX_ANSWER_BYTES = 65_536;
/** Where the endpoint does not say how long a token is good for. */
const UNSAID_MS = 300_000;
/** No token is used so shortly before its end, or for the last tenth of a short life. */
const MARGIN_MS = 30_000;

/**
 * Credentials by OAuth token exchange (RFC 8693): for each principal a token that names it, and for the
 * cluster itself one by its client credentials (RFC 6749, 4.4). Kept until shortly before they end, and asked
 * for once, however many callers wait. The token that a caller presented plays no part: a `Principal` has none.
 *
 * The provider rejects with `RpcError` `upstream_error` when the endpoint gives no token.
 *
 * @throws ConfigurationError naming the option that is wrong.
 */
export function tokenExchange(options: TokenExchangeOptions): CredentialsProvider {
  const exchange = new TokenExchange(options);
  return (node, principal, { refused }) => exchange.credentials(node, principal, refused);
}

class TokenExchange {
  readonly #options: TokenExchangeOptions;
  readonly #clock: Clock;
  readonly #timeoutMs: number;
  readonly #tokens = new Map<string, { readonly token: Promise<Issued>; until: number }>();

  constructor(options: TokenExchangeOptions) {
    const { tokenUrl, clientId, clientSecret, subjectToken, timeoutMs = 10_000, clock = systemClock } = options;
    const url = URL.parse(tokenUrl);
    if (
      url === null ||
      !(url.protocol === 'https:' || (url.protocol === 'http:' && isLoopbackAddress(url.hostname.replace(/^\[|\]$/g, ''))))
    ) {
      throw new ConfigurationError('tokenUrl', 'expected an https URL, or an http URL of this machine');
    }
    for (const [name, value] of Object.entries({ clientId, clientSecret })) {
      if (typeof value !== 'string' || value === '') throw new ConfigurationError(name, 'expected a non-empty string');
    }
    if (typeof subjectToken !== 'function') throw new ConfigurationError('subjectToken', 'expected a function');
    if (!Number.isSafeInteger(timeoutMs) || timeoutMs < 1)
      throw new ConfigurationError('timeoutMs', `expected a whole number from 1, got ${timeoutMs}`);
    this.#options = options;
    this.#clock = clock;
    this.#timeoutMs = timeoutMs;
  }

  async credentials(node: ServiceNode, principal: Principal | undefined, refused: boolean): Promise<NodeCredentials> {
    const key = identityKey(principal);
    const kept = this.#tokens.get(key);
    // One that is being asked for is newer than the one refused.
    const usable = kept !== undefined && kept.until > this.#clock.now() && !(refused && Number.isFinite(kept.until));
    const { token, expiresAt } = await (usable ? kept.token : this.#ask(key, node, principal));
    return { headers: { authorization: `Bearer ${token}` }, expiresAt };
  }

  #ask(key: string, node: ServiceNode, principal: Principal | undefined): Promise<Issued> {
    const token = this.#issue(node, principal);
    const entry = { token, until: Number.POSITIVE_INFINITY };
    this.#tokens.delete(key);
    this.#tokens.set(key, entry);
    for (const oldest of this.#tokens.keys()) {
      if (this.#tokens.size <= MAX_TOKENS) break;
      this.#tokens.delete(oldest);
    }
    token.then(
      ({ expiresAt }) => (entry.until = expiresAt),
      () => {
        if (this.#tokens.get(key) === entry) this.#tokens.delete(key);
      },
    );
    return token;
  }

  async #issue(node: ServiceNode, principal: Principal | undefined): Promise<Issued> {
    const { audience, resource, scope, subjectToken } = this.#options;
    const form = new URLSearchParams();
    if (principal === undefined) form.set('grant_type', 'client_credentials');
    else {
      const subject = await subjectToken(principal, node);
      form.set('grant_type', 'urn:ietf:params:oauth:grant-type:token-exchange');
      form.set('subject_token', subject.token);
      form.set('subject_token_type', subject.type ?? 'urn:ietf:params:oauth:token-type:jwt');
      form.set('requested_token_type', 'urn:ietf:params:oauth:token-type:access_token');
    }
    for (const [name, value] of Object.entries({ audience, resource, scope })) if (value !== undefined) form.set(name, value);
    const askedAt = this.#clock.now();
    const answer = await this.#post(form);
    const { access_token: token, token_type: type, expires_in: expiresIn } = answer;
    if (typeof token !== 'string' || !/^[\x21-\x7e]+$/.test(token)) throw refusal('it gave no access_token');
    if (typeof type !== 'string' || type.toLowerCase() !== 'bearer') throw refusal('it gave a token that is not a bearer token');
    const lifeMs = typeof expiresIn === 'number' && expiresIn > 0 ? expiresIn * 1000 : UNSAID_MS;
    return { token, expiresAt: askedAt + lifeMs - Math.min(MARGIN_MS, lifeMs / 10) };
  }

  async #post(form: URLSearchParams): Promise<JsonObject> {
    const { tokenUrl, clientId, clientSecret } = this.#options;
    const timeout = new AbortController();
    const cancel = this.#clock.setTimeout(() => timeout.abort(new Error(`no answer within ${this.#timeoutMs} ms`)), this.#timeoutMs);
    const basic = Buffer.from(`${encodeForm(clientId)}:${encodeForm(clientSecret)}`).toString('base64');
    try {
      const response = await fetch(tokenUrl, {
        method: 'POST',
        headers: { authorization: `Basic ${basic}`, accept: 'application/json' },
        body: form,
        redirect: 'error',
        signal: timeout.signal,
      });
      const answer = await jsonOf(response);
      if (response.ok) return answer;
      const error = typeof answer.error === 'string' && /^[\w.-]{1,64}$/.test(answer.error) ? ` ${answer.error}` : '';
      throw refusal(`it answered ${response.status}${error}`);
    } catch (error) {
      throw error instanceof RpcError ? error : refusal(error instanceof Error ? error.message : String(error), error);
    } finally {
      cancel();
    }
  }
}

async function jsonOf(response: Response): Promise<JsonObject> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of response.body ?? []) {
    length += chunk.length;
    if (length > MAX_ANSWER_BYTES) throw refusal(`its answer has more than ${MAX_ANSWER_BYTES} bytes`);
    chunks.push(chunk);
  }
  try {
    const answer: unknown = JSON.parse(Buffer.concat(chunks).toString());
    return isJsonObject(answer) ? answer : {};
  } catch {
    return {};
  }
}

/** `application/x-www-form-urlencoded` of one value, as RFC 6749, 2.3.1 wants it in the Basic header. */
function encodeForm(value: string): string {
  return new URLSearchParams({ '': value }).toString().slice(1);
}

function refusal(why: string, cause?: unknown): RpcError {
  return new RpcError('upstream_error', 'No token for the upstream service could be had', {
    auditReason: `token endpoint: ${why}`,
    ...(cause === undefined ? {} : { cause }),
  });
}
