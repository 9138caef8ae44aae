import type { JwtAlgorithm } from '@mcp-blocks/secure-mcp-server';
import { z } from 'zod';
import { oneOrMore, type SchemaParts, text, texts, whole } from './parts.js';

const ALGORITHMS = [
  ...['HS256', 'HS384', 'HS512', 'RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'],
  ...['ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519'],
] as [JwtAlgorithm, ...JwtAlgorithm[]];

const owner = {
  id: text,
  roles: texts.exactOptional(),
  scopes: texts.exactOptional(),
  clientId: text.exactOptional(),
  expiresAt: z.iso
    .datetime({ offset: true, error: 'expected a time such as 2027-01-31T00:00:00Z' })
    .transform((time) => Date.parse(time))
    .exactOptional(),
};
const claims = { rolesClaim: oneOrMore.exactOptional(), scopesClaim: oneOrMore.exactOptional() };

/** Who may call. */
export function authenticationSchema({ secret }: SchemaParts) {
  const jwt = z.strictObject({
    issuer: text,
    audience: oneOrMore,
    algorithms: z.array(z.enum(ALGORITHMS)),
    key: secret.exactOptional(),
    keys: z.array(z.strictObject({ kid: text, key: secret })).exactOptional(),
    jwks: z
      .strictObject({
        url: text,
        cacheMaxAgeMs: whole.exactOptional(),
        cooldownMs: whole.exactOptional(),
        staleMaxAgeMs: whole.exactOptional(),
        timeoutMs: whole.exactOptional(),
        maxBytes: whole.exactOptional(),
      })
      .exactOptional(),
    typ: text.exactOptional(),
    maxTokenLength: whole.exactOptional(),
    clockToleranceSeconds: whole.exactOptional(),
    ...claims,
  });
  const introspection = z.strictObject({
    url: text,
    clientId: text,
    clientSecret: secret,
    audience: oneOrMore,
    issuer: text.exactOptional(),
    acceptClients: z.boolean().exactOptional(),
    cacheMs: whole.exactOptional(),
    negativeCacheMs: whole.exactOptional(),
    maxEntries: whole.exactOptional(),
    timeoutMs: whole.exactOptional(),
    maxBytes: whole.exactOptional(),
    clockToleranceSeconds: whole.exactOptional(),
    ...claims,
  });
  return z.strictObject({
    allowAnonymous: z.boolean().describe('Lets callers in who present no credentials').exactOptional(),
    apiKeys: z
      .array(
        z
          .strictObject({ ...owner, key: secret.exactOptional(), hash: secret.exactOptional() })
          .refine(({ key, hash }) => (key === undefined) !== (hash === undefined), 'expected either key, or hash as hashApiKey makes it'),
      )
      .exactOptional(),
    jwt: z.array(jwt).describe('One for each issuer').exactOptional(),
    oauth: z
      .strictObject({
        resource: text,
        authorizationServers: texts,
        requiredScopes: texts.exactOptional(),
        scopesSupported: texts.exactOptional(),
        resourceName: text.exactOptional(),
        jwt: jwt.exactOptional(),
        introspection: introspection.exactOptional(),
      })
      .refine((oauth) => (oauth.jwt === undefined) !== (oauth.introspection === undefined), 'expected either jwt or introspection')
      .describe('An OAuth 2.1 resource server: metadata, challenges, tokens')
      .exactOptional(),
    introspection: introspection.exactOptional(),
    clientKeys: z
      .array(z.strictObject({ ...owner, publicKey: text }))
      .describe('Noise keys of WebSocket clients')
      .exactOptional(),
    clientCertificates: z
      .literal(true, 'expected true, or nothing')
      .describe('The certificate of the TLS connection says who calls')
      .exactOptional(),
  });
}
