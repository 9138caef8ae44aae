import { type Clock, isRpcError, MemoryStateStore, RpcError } from '@mcp-blocks/core';
import {
  auth,
  computeScopeUnion,
  discoverOAuthServerInfo,
  isStrictScopeSuperset,
  OAuthError,
  OAuthErrorCode,
  refreshAuthorization,
  selectResourceURL,
  validateAuthorizationResponseIssuer,
} from '@modelcontextprotocol/client';
import { messageOf } from '../sdk-errors.js';
import type { Tokens } from '../tokens.js';
import { askForChallenge, type Challenge, readChallenge } from './challenge.js';
import { oauthFetch } from './oauth-fetch.js';
import { OAuthFlow } from './oauth-flow.js';
import { type KeptTokens, OAuthMemory } from './oauth-memory.js';
import type { ResolvedOAuth } from './oauth-options.js';

/** Options of {@link OAuthTokens}. */
export interface OAuthTokensOptions {
  readonly oauth: ResolvedOAuth;
  /** The server the tokens are for. */
  readonly serverUrl: URL;
  readonly allowInsecure: boolean;
  readonly clock: Clock;
  /** Makes `state` parameters; unguessable. */
  readonly newId: () => string;
}

/** A token is replaced before it expires: this long before, or a tenth of its life. */
const EARLY_MS = 30_000;

/** How many tokens are remembered with their person. */
const REMEMBERED = 16;

/** Answers to a refresh after which another would be answered alike. */
const REFRESH_REFUSED: ReadonlySet<string> = new Set([
  OAuthErrorCode.InvalidGrant,
  OAuthErrorCode.InvalidClient,
  OAuthErrorCode.UnauthorizedClient,
]);

const TEMPORARY: ReadonlySet<string> = new Set([
  OAuthErrorCode.ServerError,
  OAuthErrorCode.TemporarilyUnavailable,
  OAuthErrorCode.TooManyRequests,
]);

/**
 * Tokens from an authorization server, by the SDK's OAuth client (MCP 2026-07-28, basic/authorization). The
 * authorization server is found through the resource's metadata each time (RFC 9728, RFC 8414); whoever needs a
 * token while one is being got waits for that one.
 */
export class OAuthTokens implements Tokens {
  readonly renewable = true;
  readonly #options: OAuthTokensOptions;
  readonly #memory: OAuthMemory;
  readonly #closed = new AbortController();
  readonly #fetch: typeof fetch;
  readonly #people = new Map<string, string>();
  /** The server has refused a request without a token. */
  #required = false;
  #refused: string | undefined;
  #challenge: Challenge = {};
  #flight: Promise<string> | undefined;
  /** The scopes that the flight is to bring. */
  #widening: string | undefined;

  constructor(options: OAuthTokensOptions) {
    const { oauth, serverUrl, allowInsecure, clock } = options;
    this.#options = options;
    const client = oauth.clientId ?? (oauth.grant === 'authorization_code' ? (oauth.clientMetadataUrl ?? oauth.redirectUrl) : '');
    this.#memory = new OAuthMemory(oauth.storage ?? new MemoryStateStore({ clock }), serverUrl.href, client, clock);
    this.#fetch = oauthFetch({ clock, signal: this.#closed.signal, allowInsecure });
  }

  async token(): Promise<string | undefined> {
    if (this.#flight !== undefined) return this.#flight;
    const kept = await this.#memory.tokens();
    if (kept === undefined ? !this.#required : this.#isGood(kept)) return this.#remember(kept)?.access_token;
    return this.#once((signal) => this.#renew(signal));
  }

  async discard(refused: string | undefined, why?: unknown): Promise<void> {
    // Another has taken its place, or is about to.
    if (this.#flight !== undefined || (await this.#memory.tokens())?.access_token !== refused) return;
    this.#required = true;
    this.#refused = refused;
    this.#challenge = { ...this.#challenge, ...readChallenge(why) };
  }

  async widen(token: string | undefined, why: RpcError): Promise<boolean> {
    const challenge = readChallenge(why);
    if (this.#flight !== undefined) {
      // One question to the user for all who need the same; what comes of it, comes of it for all.
      const joined = !isStrictScopeSuperset(challenge.scope, this.#widening);
      const failure = await this.#flight.then(
        () => undefined,
        (error: unknown) => error,
      );
      if (joined && failure !== undefined) throw failure;
    }
    const kept = await this.#memory.tokens();
    if (kept === undefined || kept.access_token !== token) return kept !== undefined;
    const had = computeScopeUnion(kept.scope, kept.requestedScope);
    const wanted = computeScopeUnion(had, challenge.scope);
    // What has been asked for and not been given will not be given now.
    if (wanted === undefined || !isStrictScopeSuperset(wanted, had)) return false;
    const widening = this.#once((signal) => this.#authorize(signal, { ...this.#challenge, ...challenge, scope: wanted }));
    this.#widening = wanted;
    await widening;
    return true;
  }

  personOf(token: string): string | undefined {
    return this.#people.get(token);
  }

  close(): void {
    this.#closed.abort(new RpcError('cancelled', 'The client has been closed'));
  }

  /** Does it, or joins what is being done. */
  #once(work: (signal: AbortSignal) => Promise<KeptTokens>): Promise<string> {
    if (this.#flight !== undefined) return this.#flight;
    const { signal } = this.#closed;
    const flight = (async () => {
      try {
        signal.throwIfAborted();
        return this.#remember(await work(signal)).access_token;
      } catch (error) {
        throw readOAuthError(signal.aborted ? signal.reason : error);
      } finally {
        this.#flight = undefined;
        this.#widening = undefined;
      }
    })();
    this.#flight = flight;
    return flight;
  }

  #isGood({ access_token, expiresAt, expires_in = 0 }: KeptTokens): boolean {
    if (access_token === this.#refused) return false;
    return expiresAt === undefined || this.#options.clock.now() < expiresAt - Math.min(EARLY_MS, expires_in * 100);
  }

  #remember<T extends KeptTokens | undefined>(kept: T): T {
    if (kept === undefined) return kept;
    this.#people.delete(kept.access_token);
    this.#people.set(kept.access_token, kept.person);
    for (const oldest of this.#people.keys()) if (this.#people.size > REMEMBERED) this.#people.delete(oldest);
    return kept;
  }

  async #renew(signal: AbortSignal): Promise<KeptTokens> {
    if (this.#challenge.resourceMetadataUrl === undefined)
      this.#challenge = { ...(await askForChallenge(this.#options.serverUrl, this.#fetch)), ...this.#challenge };
    const kept = await this.#memory.tokens();
    const refreshed = kept?.refresh_token === undefined ? undefined : await this.#memory.alone(signal, () => this.#refresh());
    if (refreshed !== undefined) return refreshed;
    const scope = computeScopeUnion(this.#challenge.scope, kept?.requestedScope);
    return this.#authorize(signal, { ...this.#challenge, ...(scope === undefined ? {} : { scope }) });
  }

  /** RFC 6749 section 6. `undefined` when the refresh token is of no use. */
  async #refresh(): Promise<KeptTokens | undefined> {
    const kept = await this.#memory.tokens();
    // Somebody who shares the storage has been faster.
    if (kept !== undefined && this.#isGood(kept)) return kept;
    if (kept?.refresh_token === undefined) return undefined;
    const { flow, issuer } = await this.#begin(this.#challenge.resourceMetadataUrl, undefined, kept.person);
    const { authorizationServerUrl, authorizationServerMetadata: metadata, resourceMetadata } = flow.discoveryState();
    const clientInformation = await flow.clientInformation();
    // A refresh token is shown to nobody but the authorization server it came from.
    if (kept.issuer !== issuer || clientInformation?.issuer !== issuer) return undefined;
    try {
      const tokens = await refreshAuthorization(authorizationServerUrl, {
        clientInformation,
        refreshToken: kept.refresh_token,
        fetchFn: this.#fetch,
        ...(metadata === undefined ? {} : { metadata }),
        ...(resourceMetadata === undefined ? {} : { resource: resourceMetadata.resource }),
        ...(flow.addClientAuthentication === undefined ? {} : { addClientAuthentication: flow.addClientAuthentication }),
      });
      await flow.saveTokens({ ...(kept.scope === undefined ? {} : { scope: kept.scope }), ...tokens }, undefined, kept.requestedScope);
      return flow.tokensGiven;
    } catch (error) {
      if (!(error instanceof OAuthError) || !REFRESH_REFUSED.has(error.code)) throw error;
      if (error.code === OAuthErrorCode.InvalidClient) await flow.invalidateCredentials('client');
      return undefined;
    }
  }

  async #authorize(signal: AbortSignal, challenge: Challenge): Promise<KeptTokens> {
    const { oauth, serverUrl, newId } = this.#options;
    const { flow } = await this.#begin(
      challenge.resourceMetadataUrl,
      challenge.scope,
      oauth.grant === 'authorization_code' ? newId() : `client ${oauth.clientId}`,
    );
    const request = {
      serverUrl,
      fetchFn: this.#fetch,
      forceReauthorization: true,
      ...(challenge.scope === undefined ? {} : { scope: challenge.scope }),
    };
    if ((await auth(flow, request)) === 'REDIRECT') {
      const { code, iss } = await this.#consent(flow, signal);
      await auth(flow, { ...request, authorizationCode: code, ...(iss === null ? {} : { iss }) });
    }
    const { scope: _given, ...rest } = this.#challenge;
    this.#challenge = rest;
    return flow.tokensGiven as KeptTokens;
  }

  /** Finds out which authorization server the resource has now. */
  async #begin(
    resourceMetadataUrl: URL | undefined,
    scope: string | undefined,
    person: string,
  ): Promise<{ flow: OAuthFlow; issuer: string }> {
    const { oauth, serverUrl, clock, newId } = this.#options;
    const found = await discoverOAuthServerInfo(serverUrl, {
      fetchFn: this.#fetch,
      ...(resourceMetadataUrl === undefined ? {} : { resourceMetadataUrl }),
    });
    const issuer = found.authorizationServerMetadata?.issuer ?? found.authorizationServerUrl;
    if (oauth.issuer !== undefined && oauth.issuer !== issuer)
      throw new RpcError('unauthenticated', `The server names the authorization server ${issuer}, not credentials.oauth.issuer`);
    // The token request names the resource always, as the metadata spells it (RFC 8707, RFC 9728 section 3.3).
    const discovery = { ...found, resourceMetadata: found.resourceMetadata ?? { resource: serverUrl.href } };
    const flow = new OAuthFlow({
      options: oauth,
      memory: this.#memory,
      discovery,
      issuer,
      state: newId(),
      scope,
      person,
      now: () => clock.now(),
    });
    await selectResourceURL(serverUrl, flow, discovery.resourceMetadata);
    return { flow, issuer };
  }

  /** Sends the user to the authorization server and checks what they come back with. */
  async #consent(flow: OAuthFlow, signal: AbortSignal): Promise<{ code: string; iss: string | null }> {
    const { oauth, clock } = this.#options;
    if (oauth.grant !== 'authorization_code') throw new Error('Only the authorization code grant has a user');
    const waiting = new AbortController();
    const gone = new Promise<never>((_resolve, reject) => waiting.signal.addEventListener('abort', () => reject(waiting.signal.reason)));
    const onAbort = () => waiting.abort(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    const late = new RpcError('unauthenticated', `The user did not authorize within ${oauth.authorizationTimeoutMs} ms`);
    const cancelTimer = clock.setTimeout(() => waiting.abort(late), oauth.authorizationTimeoutMs);
    try {
      const url = flow.authorizationUrl as URL;
      const answer = await Promise.race([oauth.authorize({ url, signal: waiting.signal }), gone]);
      return readRedirect(new URL(answer), flow);
    } finally {
      cancelTimer();
      signal.removeEventListener('abort', onAbort);
    }
  }
}

/** OAuth 2.1 section 4.1.2, RFC 9207 section 2.4: whose answer it is comes before what it says. */
function readRedirect({ searchParams }: URL, flow: OAuthFlow): { code: string; iss: string | null } {
  const { authorizationServerMetadata: metadata } = flow.discoveryState();
  if (searchParams.get('state') !== flow.state()) throw new RpcError('unauthenticated', 'The answer is not to this authorization request');
  const iss = searchParams.get('iss');
  validateAuthorizationResponseIssuer({
    iss: iss ?? undefined,
    expectedIssuer: metadata?.issuer,
    issParameterSupported: metadata?.authorization_response_iss_parameter_supported === true,
  });
  const error = searchParams.get('error');
  if (error !== null) throw new OAuthError(error, searchParams.get('error_description') ?? error);
  const code = searchParams.get('code');
  if (code === null) throw new RpcError('unauthenticated', 'The answer holds no authorization code');
  return { code, iss };
}

function readOAuthError(error: unknown): RpcError {
  if (isRpcError(error)) return error;
  // A server that cannot be reached, which `fetch` says with a TypeError.
  const temporary = error instanceof OAuthError ? TEMPORARY.has(error.code) : error instanceof TypeError;
  const message = temporary ? 'The authorization server cannot be reached' : 'No token could be had';
  return new RpcError(temporary ? 'unavailable' : 'unauthenticated', `${message}: ${messageOf(error)}`, { cause: error });
}
