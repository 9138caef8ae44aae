import { z } from 'zod';
import { balancingSchemas, routingRule } from '../../balancing/config.js';
import { STRATEGY_NAMES } from '../../balancing/strategy.js';
import { nodeUrl, serviceNodeSchema } from '../../discovery/service-node-schema.js';
import { positiveOrNone } from '../../option-schemas.js';
import { resilienceSchemas } from '../../resilience/config.js';
import { noiseProtocol } from './listen-schema.js';
import { oneOrMore, type SchemaParts, text, texts, whole } from './parts.js';

const strategy = z.enum(STRATEGY_NAMES);

/** One service behind the gateway: a cluster's options by their own names, or a program to start. */
export function serviceSchema(parts: SchemaParts) {
  const { secret, value, path } = parts;
  return z
    .strictObject({
      urls: z.array(nodeUrl).min(1, 'expected at least one URL').describe('The nodes, in short for discoveryMethod static').exactOptional(),
      stdio: z
        .strictObject({
          command: text,
          args: z.array(value).exactOptional(),
          env: z.record(text, value).exactOptional(),
          cwd: path.exactOptional(),
          stderr: z.enum(['inherit', 'ignore']).exactOptional(),
          maxMessageBytes: whole.exactOptional(),
          maxConcurrent: whole.exactOptional(),
          requestTimeout: whole.exactOptional(),
          idleTimeout: whole.exactOptional(),
        })
        .describe('A server that speaks over stdin and stdout; nothing else is given beside it')
        .exactOptional(),
      discoveryMethod: z.enum(['static', 'etcd', 'consul', 'kubernetes', 'dns']).exactOptional(),
      discoveryConfig: discoverySchema(parts).exactOptional(),
      ...balancingSchemas,
      loadBalancingStrategy: strategy.default('round-robin'),
      routingRules: z.array(routingRule.extend({ strategy: strategy.exactOptional() })).default([]),
      ...resilienceSchemas,
      upstreamSessions: z.enum(['shared', 'own']).exactOptional(),
      requestTimeout: positiveOrNone,
      connectionIdleTimeout: positiveOrNone,
      credentials: credentialsSchema(parts).describe("The gateway's own, for the nodes; none by default").exactOptional(),
      connection: z
        .strictObject({
          maxResponseBytes: whole.exactOptional(),
          webSocket: z
            .strictObject({
              tls: z
                .strictObject({
                  ca: value.exactOptional(),
                  cert: value.exactOptional(),
                  key: secret.exactOptional(),
                  pins: texts.exactOptional(),
                })
                .exactOptional(),
              noise: z
                .strictObject({ protocol: noiseProtocol, serverPublicKey: text.exactOptional(), privateKey: secret.exactOptional() })
                .exactOptional(),
              allowInsecure: z.literal(true, 'expected true, or nothing').exactOptional(),
              handshakeTimeoutMs: whole.exactOptional(),
              maxMessageBytes: whole.exactOptional(),
              heartbeatIntervalMs: whole.exactOptional(),
              heartbeatTimeoutMs: whole.exactOptional(),
            })
            .exactOptional(),
        })
        .exactOptional(),
    })
    .refine(
      ({ urls, stdio, discoveryMethod }) => [urls, stdio, discoveryMethod].filter((given) => given !== undefined).length === 1,
      'expected exactly one of urls, stdio and discoveryMethod',
    )
    .refine(
      ({ discoveryMethod, discoveryConfig }) => discoveryConfig === undefined || discoveryMethod !== undefined,
      'expected discoveryMethod beside discoveryConfig',
    );
}

function discoverySchema({ secret, value }: SchemaParts) {
  const http = {
    tls: z.strictObject({ ca: value.exactOptional(), cert: value.exactOptional(), key: secret.exactOptional() }).exactOptional(),
    headers: z.record(text, secret).exactOptional(),
    requestTimeoutMs: whole.exactOptional(),
  };
  const scheme = z.enum(['http', 'https', 'ws', 'wss']).exactOptional();
  return z.strictObject({
    serviceName: text.describe("The service's name in the registry, by default the one here").exactOptional(),
    endpoints: texts.exactOptional(),
    nodes: z.array(serviceNodeSchema).exactOptional(),
    etcd: z
      .strictObject({
        keyPrefix: text.exactOptional(),
        user: z.strictObject({ name: text, password: secret }).exactOptional(),
        ...http,
      })
      .exactOptional(),
    consul: z
      .strictObject({
        token: secret.exactOptional(),
        datacenter: text.exactOptional(),
        defaults: z.strictObject({ scheme, path: text.exactOptional() }).exactOptional(),
        ...http,
      })
      .exactOptional(),
    kubernetes: z
      .strictObject({
        server: text.exactOptional(),
        namespace: text.exactOptional(),
        token: secret.exactOptional(),
        tls: http.tls,
        port: z.union([whole, text], { error: 'expected a number or the name of a port' }).exactOptional(),
        scheme,
        path: text.exactOptional(),
        serviceAccountFolder: text.exactOptional(),
        requestTimeoutMs: whole.exactOptional(),
      })
      .exactOptional(),
    dns: z
      .strictObject({
        record: z.enum(['SRV', 'A', 'AAAA']).exactOptional(),
        port: whole.exactOptional(),
        scheme,
        path: text.exactOptional(),
        servers: texts.exactOptional(),
        refreshIntervalMs: whole.exactOptional(),
        timeoutMs: whole.exactOptional(),
      })
      .exactOptional(),
  });
}

function credentialsSchema({ secret }: SchemaParts) {
  return z
    .strictObject({
      bearer: secret.describe('Sent as Authorization: Bearer …').exactOptional(),
      headers: z.record(text, secret).exactOptional(),
      tokenExchange: z
        .strictObject({
          tokenUrl: text,
          clientId: text,
          clientSecret: secret,
          audience: text.exactOptional(),
          resource: text.exactOptional(),
          scope: text.exactOptional(),
          timeoutMs: whole.exactOptional(),
          subject: z
            .strictObject({
              key: secret.describe('Private key, PEM, or a shared secret for HS256'),
              algorithm: z.enum(['HS256', 'RS256', 'PS256', 'ES256', 'EdDSA']),
              keyId: text.exactOptional(),
              issuer: text,
              audience: oneOrMore.describe('The authorization server; tokenUrl by default').exactOptional(),
              lifetimeSeconds: whole.exactOptional(),
            })
            .describe('The JWT, signed by the gateway, that names the caller'),
        })
        .describe('RFC 8693: a token for each caller')
        .exactOptional(),
    })
    .refine((given) => Object.keys(given).length === 1, 'expected exactly one of bearer, headers and tokenExchange');
}
