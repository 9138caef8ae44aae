import type { StateStore } from '@mcp-blocks/core';
import { z } from 'zod';

/**
 * Keeps tokens and registrations: a `StateStore`, or anything with these methods. What is kept are secrets.
 * With the two methods for locks, clients that share a storage, in several processes or tabs, refresh a token once.
 */
export type OAuthStorage = Pick<StateStore, 'get' | 'set' | 'delete'> & Partial<Pick<StateStore, 'acquireLock' | 'releaseLock'>>;

interface CommonOptions {
  /** Scopes, separated by spaces, to ask for where neither the server's challenge nor its metadata names any. Default: none. */
  readonly scope?: string;
  /**
   * The authorization server's issuer, as its metadata spells it: another is refused. Default: the one that the
   * server names first, from then on.
   */
  readonly issuer?: string;
  /** Default: memory, for as long as the client lives. */
  readonly storage?: OAuthStorage;
}

/** Where the user has to be sent. */
export interface AuthorizationRequest {
  /** Open it in the user's browser. */
  readonly url: URL;
  /** Aborted when nobody waits any longer. */
  readonly signal: AbortSignal;
}

/** A user consents in a browser: authorization code grant with PKCE S256 (OAuth 2.1 section 4.1). */
export interface AuthorizationCodeOptions extends CommonOptions {
  readonly grant: 'authorization_code';
  /** Where the authorization server sends the user back to. */
  readonly redirectUrl: string;
  /** Sends the user there and resolves with the whole URL they came back to. */
  readonly authorize: (request: AuthorizationRequest) => Promise<string | URL>;
  /** Time for the user, in milliseconds. Default: 300,000. */
  readonly authorizationTimeoutMs?: number;
  /** A client registered before. Default: `clientMetadataUrl`, else the client registers itself (RFC 7591). */
  readonly clientId?: string;
  readonly clientSecret?: string;
  /** `https` URL of the client's metadata, its identifier at authorization servers that can read it. */
  readonly clientMetadataUrl?: string;
  /** Shown to the user by authorization servers where the client registers itself. Default: `MCP client`. */
  readonly clientName?: string;
}

/** The client acts for itself: client credentials grant (OAuth 2.1 section 4.2). */
export interface ClientCredentialsOptions extends CommonOptions {
  readonly grant: 'client_credentials';
  readonly clientId: string;
  readonly clientSecret: string;
}

/** As `client_credentials`, the client proving who it is with a signature (RFC 7523 section 2.2). */
export interface PrivateKeyJwtOptions extends CommonOptions {
  readonly grant: 'private_key_jwt';
  readonly clientId: string;
  /** PKCS #8 as PEM, or a JWK. */
  readonly privateKey: string | Readonly<Record<string, unknown>>;
  /** JWS algorithm, such as `ES256` or `RS256`. */
  readonly algorithm: string;
}

/** How the client gets tokens from an authorization server. */
export type OAuthOptions = AuthorizationCodeOptions | ClientCredentialsOptions | PrivateKeyJwtOptions;

const text = z.string().min(1);
const storage = z.custom<OAuthStorage>(
  (value) => ['get', 'set', 'delete'].every((name) => typeof (value as Record<string, unknown> | undefined)?.[name] === 'function'),
  'expected get, set and delete',
);
const common = { scope: text.optional(), issuer: z.url().optional(), storage: storage.optional() };

const url = (protocols: RegExp) =>
  z.string().refine((value) => protocols.test(URL.parse(value)?.protocol ?? ''), 'expected an absolute URL');

export const OAuthSchema = z.discriminatedUnion('grant', [
  z
    .strictObject({
      ...common,
      grant: z.literal('authorization_code'),
      // Native applications have schemes of their own (RFC 8252 section 7.1).
      redirectUrl: url(/^(?!javascript:|data:)[a-z]/),
      authorize: z.custom<AuthorizationCodeOptions['authorize']>((value) => typeof value === 'function', 'expected a function'),
      authorizationTimeoutMs: z.int().min(1).max(86_400_000).default(300_000),
      clientId: text.optional(),
      clientSecret: text.optional(),
      clientMetadataUrl: url(/^https:$/).optional(),
      clientName: text.default('MCP client'),
    })
    .refine(({ clientId, clientSecret }) => clientSecret === undefined || clientId !== undefined, {
      path: ['clientId'],
      message: 'expected the identifier that clientSecret belongs to',
    }),
  z.strictObject({ ...common, grant: z.literal('client_credentials'), clientId: text, clientSecret: text }),
  z.strictObject({
    ...common,
    grant: z.literal('private_key_jwt'),
    clientId: text,
    privateKey: z.union([text, z.record(z.string(), z.unknown())]),
    algorithm: z.string().regex(/^(RS|PS|ES)(256|384|512)$/, 'expected one of RS256 to RS512, PS256 to PS512, ES256 to ES512'),
  }),
]);

/** {@link OAuthOptions} with defaults in place. */
export type ResolvedOAuth = z.output<typeof OAuthSchema>;
