import { z } from 'zod';
import { authenticationSchema } from './authentication-schema.js';
import { listenSchemas } from './listen-schema.js';
import { pathSchema, type Resolve, referenceSchema, type SchemaParts, text, texts, whole } from './parts.js';
import { serviceSchema } from './service-schema.js';

/** A configuration file, read and checked. */
export type GatewayFile = z.output<ReturnType<typeof gatewaySchema>>;
/** One of its services. */
export type ServiceEntry = GatewayFile['services'][string];

/** The schema of a configuration file. */
export function gatewaySchema(resolve: Resolve, absolute: (path: string) => string) {
  const parts: SchemaParts = {
    secret: referenceSchema(resolve, true),
    value: referenceSchema(resolve, false),
    path: pathSchema(absolute),
  };
  const { listen, limits } = listenSchemas(parts);
  return z.strictObject({
    $schema: z.string().exactOptional(),
    name: text.describe('As clients see it; gateway by default').exactOptional(),
    version: text.exactOptional(),
    title: text.exactOptional(),
    instructions: text.describe('Shown to the model by hosts').exactOptional(),
    listen,
    limits,
    authentication: authenticationSchema(parts),
    services: z.record(z.string().regex(/^[A-Za-z0-9-]+$/, 'expected a name of letters, digits and -'), serviceSchema(parts)),
    collision: z.enum(['refuse', 'prefix']).exactOptional(),
    listTtlMs: whole.exactOptional(),
    listTimeoutMs: whole.exactOptional(),
    openCalls: z
      .strictObject({ ttlMs: whole.exactOptional(), max: whole.exactOptional(), maxPerPrincipal: whole.exactOptional() })
      .exactOptional(),
    rateLimits: rateLimitsSchema().exactOptional(),
    audit: z
      .strictObject({
        path: parts.path,
        maxFileBytes: whole.exactOptional(),
        maxFileAgeMs: whole.exactOptional(),
        maxQueuedRecords: whole.exactOptional(),
        arguments: z.enum(['names', 'values', 'none']).exactOptional(),
        required: z.boolean().describe('Refuses calls that cannot be recorded').exactOptional(),
      })
      .describe('A hash-chained trail in a file')
      .exactOptional(),
    state: stateSchema(parts, absolute).exactOptional(),
    drainDeadlineMs: whole.describe('For calls in progress when the gateway is told to end; 30000 by default').exactOptional(),
  });
}

const ENDPOINTS = {
  sqlite: 'expected one path',
  redis: 'expected one redis:// or rediss:// URL',
  'redis-cluster': 'expected redis:// or rediss:// URLs',
};

function stateSchema({ secret }: SchemaParts, absolute: (path: string) => string) {
  const isRedis = (endpoint: string) => /^rediss?:\/\//.test(endpoint);
  return z
    .strictObject({
      provider: z.enum(['sqlite', 'redis', 'redis-cluster']),
      endpoints: z.array(secret).min(1, 'expected at least one'),
      sentinels: z.array(secret).min(1, 'expected at least one').exactOptional(),
    })
    .superRefine(({ provider, endpoints, sentinels }, context) => {
      const one = provider === 'redis-cluster' || endpoints.length === 1;
      if (!one || (provider !== 'sqlite' && !endpoints.every(isRedis))) {
        context.addIssue({ code: 'custom', path: ['endpoints'], message: ENDPOINTS[provider] });
      }
      if (sentinels !== undefined && provider !== 'redis') {
        context.addIssue({ code: 'custom', path: ['sentinels'], message: 'has an effect only with provider redis' });
      }
    })
    .transform(({ provider, endpoints, ...rest }) => ({
      provider,
      endpoints: provider === 'sqlite' ? endpoints.map((path) => (path.startsWith('file:') ? path : absolute(path))) : endpoints,
      ...rest,
    }))
    .describe(
      'What outlives this process and is shared with the other gateways of this configuration: sessions, and with one Redis the rate limits',
    );
}

function rateLimitsSchema() {
  const entry = z.strictObject({
    principal: text.exactOptional(),
    issuer: text.exactOptional(),
    clientId: text.exactOptional(),
    ip: text.exactOptional(),
    tool: text.exactOptional(),
    method: text.exactOptional(),
    expiresAt: whole.exactOptional(),
  });
  return z.strictObject({
    limits: z.array(
      z.strictObject({
        by: text,
        requests: whole.exactOptional(),
        windowMs: whole.exactOptional(),
        concurrent: whole.exactOptional(),
        algorithm: z.enum(['fixed-window', 'sliding-window', 'token-bucket']).exactOptional(),
        burst: whole.exactOptional(),
        cost: whole.exactOptional(),
        skipSuccessful: z.boolean().exactOptional(),
        skipFailed: z.boolean().exactOptional(),
        methods: texts.exactOptional(),
        tools: texts.exactOptional(),
        name: text.exactOptional(),
      }),
    ),
    allowList: z.array(entry).exactOptional(),
    denyList: z.array(entry).exactOptional(),
    maxKeys: whole.exactOptional(),
    store: z
      .enum(['memory', 'redis'])
      .describe('Where they are counted; redis is that of `state`, and the default with it')
      .exactOptional(),
    insurance: z
      .strictObject({ processes: whole, requests: z.record(text, whole).exactOptional() })
      .describe('Counts here while Redis does not answer')
      .exactOptional(),
  });
}

/** The JSON Schema of a configuration file, for editors: what `$schema` of a file may name. */
export function gatewayJsonSchema(): object {
  const schema = gatewaySchema(
    () => ({ value: '' }),
    (path) => path,
  );
  return {
    title: 'Gateway of @mcp-blocks/distributed-mcp-pattern',
    ...z.toJSONSchema(schema, { io: 'input', target: 'draft-7', reused: 'ref' }),
  };
}
