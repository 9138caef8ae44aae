import {
  type AddClientAuthentication,
  createPrivateKeyJwtAuth,
  isStrictScopeSuperset,
  type OAuthClientMetadata,
  type OAuthClientProvider,
  type OAuthDiscoveryState,
  type OAuthTokens,
  type StoredOAuthClientInformation,
  type StoredOAuthTokens,
} from '@modelcontextprotocol/client';
import type { KeptTokens, OAuthMemory } from './oauth-memory.js';
import type { ResolvedOAuth } from './oauth-options.js';

/** What one {@link OAuthFlow} is made with. */
export interface OAuthFlowOptions {
  readonly options: ResolvedOAuth;
  readonly memory: OAuthMemory;
  /** What was found out about the server and its authorization server just now. */
  readonly discovery: OAuthDiscoveryState;
  /** The issuer of that authorization server. */
  readonly issuer: string;
  readonly state: string;
  /** What is to be asked for, where that is known before the SDK settles it. */
  readonly scope: string | undefined;
  /** Names whoever authorizes. */
  readonly person: string;
  now(): number;
}

/** One authorization: what the SDK's `auth` asks of its provider, for one authorization server and one run. */
export class OAuthFlow implements OAuthClientProvider {
  /** Where the user has to be sent, once the SDK has said so. */
  authorizationUrl: URL | undefined;
  /** The scopes that were asked for. */
  requestedScope: string | undefined;
  /** The tokens that came of it. */
  tokensGiven: KeptTokens | undefined;
  readonly clientMetadata: OAuthClientMetadata;
  readonly redirectUrl: string | undefined;
  readonly clientMetadataUrl?: string;
  readonly addClientAuthentication?: AddClientAuthentication;
  /** Only where the client may register itself: the SDK tells the two apart by it. */
  readonly saveClientInformation?: (information: StoredOAuthClientInformation) => Promise<void>;
  readonly prepareTokenRequest?: (scope?: string) => URLSearchParams;
  readonly #given: OAuthFlowOptions;
  #codeVerifier = '';

  constructor(given: OAuthFlowOptions) {
    const { options, memory, issuer } = given;
    this.#given = given;
    const scope = options.scope === undefined ? {} : { scope: options.scope };
    if (options.grant === 'authorization_code') {
      this.redirectUrl = options.redirectUrl;
      this.clientMetadata = {
        client_name: options.clientName,
        redirect_uris: [options.redirectUrl],
        grant_types: ['authorization_code', 'refresh_token'],
        ...scope,
      };
      if (options.clientMetadataUrl !== undefined) this.clientMetadataUrl = options.clientMetadataUrl;
      if (options.clientId === undefined) this.saveClientInformation = (information) => memory.keepClient(issuer, information);
      return;
    }
    this.clientMetadata = { redirect_uris: [], grant_types: ['client_credentials'], ...scope };
    this.prepareTokenRequest = (asked) => {
      this.requestedScope = asked;
      return new URLSearchParams({ grant_type: 'client_credentials', ...(asked === undefined ? {} : { scope: asked }) });
    };
    if (options.grant === 'private_key_jwt') {
      const { clientId, privateKey, algorithm } = options;
      this.addClientAuthentication = createPrivateKeyJwtAuth({
        issuer: clientId,
        subject: clientId,
        privateKey: privateKey as string | Record<string, unknown>,
        alg: algorithm,
      });
    }
  }

  state(): string {
    return this.#given.state;
  }

  async clientInformation(): Promise<StoredOAuthClientInformation | undefined> {
    const { options, memory, issuer } = this.#given;
    if (options.clientId === undefined) {
      const registered = await memory.client(issuer);
      // The SDK registers a client for the scopes it needs at first; some servers then give it no others (RFC 7591 section 2).
      const had = (registered as { scope?: string } | undefined)?.scope;
      return had !== undefined && isStrictScopeSuperset(this.#given.scope, had) ? undefined : registered;
    }
    const secret = 'clientSecret' in options ? options.clientSecret : undefined;
    return {
      client_id: options.clientId,
      ...(secret === undefined ? {} : { client_secret: secret }),
      // One that was registered before belongs to one authorization server: the one said, or the first it was used with.
      issuer: options.issuer ?? (await memory.boundIssuer()) ?? issuer,
    };
  }

  tokens(): Promise<StoredOAuthTokens | undefined> {
    return this.#given.memory.tokens();
  }

  /** @param scope - what was asked for, where the answer is to a refresh. */
  async saveTokens(tokens: OAuthTokens, _context?: unknown, scope = this.requestedScope): Promise<void> {
    const { memory, issuer, options, person, now } = this.#given;
    this.tokensGiven = {
      ...tokens,
      issuer,
      requestedScope: scope,
      person,
      ...(tokens.expires_in === undefined ? {} : { expiresAt: now() + tokens.expires_in * 1000 }),
    };
    await memory.keepTokens(this.tokensGiven);
    if (options.clientId !== undefined) await memory.bindIssuer(issuer);
  }

  redirectToAuthorization(url: URL): void {
    this.authorizationUrl = url;
    this.requestedScope = url.searchParams.get('scope') ?? undefined;
  }

  saveCodeVerifier(codeVerifier: string): void {
    this.#codeVerifier = codeVerifier;
  }

  codeVerifier(): string {
    return this.#codeVerifier;
  }

  discoveryState(): OAuthDiscoveryState {
    return this.#given.discovery;
  }

  /** It is known already, and held for this run only. */
  saveDiscoveryState(): void {}

  async invalidateCredentials(scope: 'all' | 'client' | 'tokens' | 'verifier' | 'discovery'): Promise<void> {
    const { memory, issuer } = this.#given;
    if (scope === 'all' || scope === 'client') await memory.forgetClient(issuer);
  }
}
