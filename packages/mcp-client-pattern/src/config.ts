import { type Clock, ConfigurationError, type Random, systemClock } from '@mcp-blocks/core';
import type { Client, ClientCapabilities } from '@modelcontextprotocol/client';
import { z } from 'zod';
import { type OAuthOptions, OAuthSchema } from './auth/oauth-options.js';
import { CacheStore, DEFAULT_MAX_BYTES, DEFAULT_MAX_SIZE } from './cache-store.js';
import type { Connector } from './connection.js';
import { checkInputCapabilities, type InputHandlers, inputCapabilities, registerInputHandlers } from './input-handlers.js';
import type { ProtocolOptions } from './sdk-connection.js';
import type { TokenOption } from './token-source.js';

/** Options of `MCPClientPattern`. Times are in milliseconds. */
export interface MCPClientConfig {
  /**
   * The server: `https://host/mcp`, or only `https://host`, which means its `/mcp`. Plain `http` on a
   * loopback host, elsewhere with `allowInsecure`.
   */
  readonly serverUrl: string;
  /** The server's WebSocket endpoint, `wss://…` or `ws://…`. Default: `/ws` on the host of `serverUrl`. */
  readonly webSocketUrl?: string;
  /** Prefer a WebSocket. Default: true. */
  readonly enableWebSocket?: boolean;
  /** Use HTTP while no WebSocket can be opened. Default: true. */
  readonly enableHttpFallback?: boolean;
  /** Open another connection when one is lost or cannot be made. Default: true. */
  readonly enableReconnection?: boolean;
  /** Keep results in memory. Default: true. */
  readonly enableCaching?: boolean;
  readonly reconnectOptions?: {
    /** Further attempts after a failed one before giving up; 0 or more, or Infinity. Default: 10. */
    readonly maxAttempts?: number;
    /** Longest pause after the first failure; pauses are random below the bound. Default: 1,000. */
    readonly initialDelay?: number;
    /** Longest pause of all. Default: 30,000. */
    readonly maxDelay?: number;
    /** Growth of the longest pause per failure; 1 or more. Default: 1.5. */
    readonly backoffMultiplier?: number;
  };
  readonly cacheOptions?: {
    /** Most results kept; the least recently used go first. Default: 1,000. */
    readonly maxSize?: number;
    /** Most bytes kept, counted as two for each character of the results' JSON. Default: 33,554,432 (32 MiB). */
    readonly maxBytes?: number;
    /** How long a result is fresh where neither the server nor the caller says. Default: 300,000. */
    readonly defaultTTL?: number;
    /**
     * For so long after a result has become stale it is given out where the server fails (`unavailable`,
     * `timeout`, `upstream_error`, `internal_error`), marked with `_meta["io.mcp-blocks/staleForMs"]`. What the
     * server has said to have changed never is. Default: 0, never.
     */
    readonly staleIfErrorMs?: number;
    /**
     * Names the person (or whatever else may not see another's results) that a token stands for, so that a
     * renewed token finds what its predecessor was answered. Default: each token is a person of its own.
     */
    readonly partition?: (token: string | undefined) => string;
    /** Room shared with other clients, instead of `maxSize` and `maxBytes`. Default: one of its own. */
    readonly store?: CacheStore;
  };
  /** When requests that may be repeated are sent again. */
  readonly retryOptions?: {
    /** One request reaches a server at most once more than this. 0 to 100. Default: 2. */
    readonly maxAttempts?: number;
    /** Bound of the random pause before the first retry; it doubles with each. Default: 100. */
    readonly initialDelayMs?: number;
    /** Largest bound of all. What the server asks for comes on top. Default: 5,000. */
    readonly maxDelayMs?: number;
    /** Retries after error answers, per request of the last ten seconds, 0 to 1. Default: 0.2. */
    readonly budgetRatio?: number;
    /** Such retries per second that are allowed beside those; 0 to 1,000. Default: 3. */
    readonly minPerSecond?: number;
  };
  /** Most requests sent and not yet answered. Default: 10. */
  readonly maxConcurrentRequests?: number;
  /** Most requests waiting; one more fails with `unavailable`. Default: 10,000. */
  readonly queueLimit?: number;
  /**
   * Waiting so long is worth one level of `priority`: a request is overtaken by those one level above it only
   * if they came less than this after it, two levels less than twice this. 1 or more; Infinity: levels are
   * strict, and low ones may starve. Default: 5,000.
   */
  readonly priorityAgeingMs?: number;
  /** Time for a request, waiting included, where `request` is not told. Default: 30,000. */
  readonly requestTimeout?: number;
  /** Time for one transport to connect and agree on a version. Default: 10,000. */
  readonly connectTimeout?: number;
  /** Silence after which the connection is probed, which keeps it open too; 0: no probes. Default: 30,000. */
  readonly healthCheckInterval?: number;
  /**
   * A server that owes an answer is probed after this much silence, and one that does not answer a probe for
   * so long is taken for dead: at most twice this passes until its requests are sent elsewhere. Default: 5,000.
   */
  readonly healthCheckTimeoutMs?: number;
  /** With a moving average of round trips above this, `health` is `degraded`. Default: latency is not judged. */
  readonly degradedLatencyMs?: number;
  /**
   * The bearer token, or how to get one from an authorization server when the server asks for it. A function
   * is called at first need and again, once for however many requests, when the server refuses the token it gave.
   */
  readonly credentials?: { readonly token: TokenOption } | { readonly oauth: OAuthOptions };
  /** Protocol era: find out (`auto`), or insist on 2026-07-28 (`modern`) or the handshake before it (`legacy`). Default: `auto`. */
  readonly versionNegotiation?: 'auto' | 'legacy' | 'modern';
  /** Must be true to speak plain `http` or `ws` to a host that is not loopback. Default: false. */
  readonly allowInsecure?: boolean;
  /** Sent to the server. Default: `mcp-blocks-client`. */
  readonly clientInfo?: { readonly name: string; readonly version: string };
  /** Answer what the server asks in the middle of a request. Default: nobody does, and the server is told so. */
  readonly inputHandlers?: InputHandlers;
  /** What the client says it can do, beyond that it has `inputHandlers`: their details, extensions. Default: nothing. */
  readonly capabilities?: ClientCapabilities;
  /** Called with the SDK `Client` of every new connection before it connects, to register further handlers. */
  readonly configureClient?: (client: Client) => void;
  /** Replaces the WebSocket and HTTP connectors, in order of preference. `sdkConnector` makes one of any SDK transport. */
  readonly connectors?: (environment: ConnectorEnvironment) => readonly Connector[];
  readonly clock?: Clock;
  /** For the jitter of pauses. Default: `Math.random`. */
  readonly random?: Random;
  /** Makes idempotency keys. Default: `crypto.randomUUID`. */
  readonly newId?: () => string;
  /** Told what listeners of `error` are told. */
  readonly onError?: (error: Error) => void;
}

/** What connectors are made from. */
export interface ConnectorEnvironment {
  readonly httpUrl: URL;
  readonly webSocketUrl: URL;
  readonly enableWebSocket: boolean;
  readonly enableHttpFallback: boolean;
  readonly allowInsecure: boolean;
  readonly connectTimeoutMs: number;
  readonly protocol: ProtocolOptions;
}

/** Options of one request. Times are in milliseconds. */
export interface RequestOptions {
  /** An integer from -100 to 100; higher goes first, waiting counting for something (`priorityAgeingMs`). Default: 0. */
  readonly priority?: number;
  /** Requests of one level with different keys take turns, such as those of different tenants. Default: they share one. */
  readonly fairnessKey?: string;
  /** Time for the request, waiting for a connection and a turn included. Default: `requestTimeout`. */
  readonly timeout?: number;
  /**
   * `false`: neither read nor write the cache. `true`: cache also prompts and read-only tools, and use
   * `defaultTTL` where the server names no lifetime. Default: cache what the spec lets, as long as the server says.
   */
  readonly useCache?: boolean;
  /** How long the result is fresh, whatever the server says. */
  readonly ttl?: number;
  /**
   * Whether the request may be carried out twice: true also where the server deduplicates by idempotency key.
   * Default: as core's `isRepeatableMethod` and the tool's `readOnlyHint` and `idempotentHint` have it.
   */
  readonly repeatable?: boolean;
  /** Cancels the request, queued or sent. */
  readonly signal?: AbortSignal;
  /** Told of the request's progress notifications. */
  readonly onProgress?: (progress: { readonly progress?: number; readonly total?: number; readonly message?: string }) => void;
}

/** {@link MCPClientConfig} with defaults in place. */
export type ResolvedConfig = Omit<z.output<typeof ConfigSchema>, 'webSocketUrl' | 'inputHandlers'> & {
  readonly capabilities: ClientCapabilities;
  readonly httpUrl: URL;
  readonly webSocketUrl: URL;
};

/** Longest delay a timer takes. */
const MAX_DELAY_MS = 2_147_483_647;

/** Hostnames as `URL` writes them. */
const LOOPBACK = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/;

const durationMs = z.int().min(1).max(MAX_DELAY_MS);
const fn = <T>() => z.custom<T>((value) => typeof value === 'function', 'expected a function');

type Form = NonNullable<NonNullable<InputHandlers['elicitation']>['form']>;
type Url = NonNullable<NonNullable<InputHandlers['elicitation']>['url']>;

const ConfigSchema = z.strictObject({
  serverUrl: z.string(),
  webSocketUrl: z.string().optional(),
  enableWebSocket: z.boolean().default(true),
  enableHttpFallback: z.boolean().default(true),
  enableReconnection: z.boolean().default(true),
  enableCaching: z.boolean().default(true),
  reconnectOptions: z
    .strictObject({
      maxAttempts: z.union([z.int().min(0), z.literal(Number.POSITIVE_INFINITY)]).default(10),
      initialDelay: durationMs.default(1000),
      maxDelay: durationMs.default(30_000),
      backoffMultiplier: z.number().min(1).default(1.5),
    })
    .prefault({}),
  cacheOptions: z
    .strictObject({
      maxSize: z.int().min(1).default(DEFAULT_MAX_SIZE),
      maxBytes: z.int().min(1).default(DEFAULT_MAX_BYTES),
      defaultTTL: z.int().min(1).default(300_000),
      staleIfErrorMs: z.int().min(0).default(0),
      partition: fn<(token: string | undefined) => string>().optional(),
      store: z.custom<CacheStore>((value) => value instanceof CacheStore, 'expected a CacheStore').optional(),
    })
    .prefault({}),
  retryOptions: z
    .strictObject({
      maxAttempts: z.int().min(0).max(100).default(2),
      initialDelayMs: durationMs.default(100),
      maxDelayMs: durationMs.default(5000),
      budgetRatio: z.number().min(0).max(1).default(0.2),
      minPerSecond: z.number().min(0).max(1000).default(3),
    })
    .prefault({}),
  maxConcurrentRequests: z.int().min(1).default(10),
  queueLimit: z.int().min(0).default(10_000),
  priorityAgeingMs: z.union([z.int().min(1), z.literal(Number.POSITIVE_INFINITY)]).default(5000),
  requestTimeout: durationMs.default(30_000),
  connectTimeout: durationMs.default(10_000),
  healthCheckInterval: z.union([z.literal(0), durationMs]).default(30_000),
  healthCheckTimeoutMs: durationMs.default(5000),
  degradedLatencyMs: durationMs.optional(),
  credentials: z
    .union([z.strictObject({ token: z.union([z.string().min(1), fn<() => Promise<string>>()]) }), z.strictObject({ oauth: OAuthSchema })])
    .optional(),
  versionNegotiation: z.enum(['auto', 'legacy', 'modern']).default('auto'),
  allowInsecure: z.boolean().default(false),
  clientInfo: z.looseObject({ name: z.string(), version: z.string() }).default({ name: 'mcp-blocks-client', version: '0.0.0' }),
  inputHandlers: z
    .strictObject({
      elicitation: z
        .strictObject({ form: fn<Form>().optional(), url: fn<Url>().optional() })
        .refine(({ form, url }) => form !== undefined || url !== undefined, 'expected form or url')
        .optional(),
      sampling: fn<NonNullable<InputHandlers['sampling']>>().optional(),
      roots: fn<NonNullable<InputHandlers['roots']>>().optional(),
    })
    .default({}),
  // Its own type would be inlined into the declarations, where TypeScript cannot write it.
  capabilities: z.custom<object>((value) => typeof value === 'object' && value !== null).default({}),
  configureClient: fn<(client: Client) => void>().optional(),
  connectors: fn<(environment: ConnectorEnvironment) => readonly Connector[]>().optional(),
  clock: z.custom<Clock>((value) => typeof (value as Clock | undefined)?.now === 'function').default(systemClock),
  random: fn<Random>().default(() => Math.random),
  newId: fn<() => string>().default(() => () => crypto.randomUUID()),
  onError: fn<(error: Error) => void>().optional(),
});

/** Of requests that are given none. */
export const NO_OPTIONS: RequestOptions = Object.freeze({});

const RequestOptionsSchema = z.object({
  priority: z.int().min(-100).max(100).optional(),
  fairnessKey: z.string().optional(),
  timeout: durationMs.optional(),
  useCache: z.boolean().optional(),
  ttl: z.int().min(1).optional(),
  repeatable: z.boolean().optional(),
  signal: z.instanceof(AbortSignal).optional(),
  onProgress: fn<(progress: object) => void>().optional(),
});

/** @throws ConfigurationError naming the path of the option and the value it does not accept. */
export function resolveConfig(config: MCPClientConfig): ResolvedConfig {
  const parsed = parse(ConfigSchema, config, '');
  const { allowInsecure, enableWebSocket, enableHttpFallback, reconnectOptions } = parsed;
  if (!enableWebSocket && !enableHttpFallback) {
    throw new ConfigurationError('enableHttpFallback', 'one of enableWebSocket and enableHttpFallback must be true');
  }
  if (reconnectOptions.maxDelay < reconnectOptions.initialDelay) {
    throw new ConfigurationError(
      'reconnectOptions.maxDelay',
      `expected at least initialDelay (${reconnectOptions.initialDelay}), got ${reconnectOptions.maxDelay}`,
    );
  }
  const { retryOptions, cacheOptions } = parsed;
  if (retryOptions.maxDelayMs < retryOptions.initialDelayMs) {
    throw new ConfigurationError(
      'retryOptions.maxDelayMs',
      `expected at least initialDelayMs (${retryOptions.initialDelayMs}), got ${retryOptions.maxDelayMs}`,
    );
  }
  for (const bound of ['maxSize', 'maxBytes'] as const) {
    if (cacheOptions.store !== undefined && config.cacheOptions?.[bound] !== undefined) {
      throw new ConfigurationError(`cacheOptions.${bound}`, 'is the business of cacheOptions.store');
    }
  }
  const httpUrl = checkUrl('serverUrl', parsed.serverUrl, ['https:', 'http:'], allowInsecure);
  const defaultWebSocketUrl = new URL('/ws', httpUrl.origin.replace(/^http/, 'ws'));
  if (httpUrl.pathname === '/') httpUrl.pathname = '/mcp';
  const webSocketUrl =
    parsed.webSocketUrl === undefined ? defaultWebSocketUrl : checkUrl('webSocketUrl', parsed.webSocketUrl, ['wss:', 'ws:'], allowInsecure);
  return { ...parsed, ...resolveInput(config), httpUrl, webSocketUrl };
}

/** What the client declares, and what answers for it. */
function resolveInput({ inputHandlers = {}, capabilities = {}, configureClient }: MCPClientConfig) {
  if (configureClient === undefined) checkInputCapabilities(inputHandlers, capabilities);
  return {
    capabilities: inputCapabilities(inputHandlers, capabilities),
    configureClient(client: Client) {
      registerInputHandlers(client, inputHandlers);
      configureClient?.(client);
    },
  };
}

/** @throws ConfigurationError naming the option and the value it does not accept. */
export function checkRequestOptions(options: RequestOptions): void {
  if (!isCommon(options)) parse(RequestOptionsSchema, options, 'options');
}

/** Whether the options are right at first sight: a look at each call that is cheaper than a schema's. */
function isCommon({ priority, fairnessKey, timeout, useCache, ttl, repeatable, signal, onProgress }: RequestOptions): boolean {
  return (
    (priority === undefined || priority === 0) &&
    (fairnessKey === undefined || typeof fairnessKey === 'string') &&
    (timeout === undefined || (Number.isInteger(timeout) && timeout > 0 && timeout <= MAX_DELAY_MS)) &&
    (useCache === undefined || typeof useCache === 'boolean') &&
    (ttl === undefined || (Number.isSafeInteger(ttl) && ttl > 0)) &&
    (repeatable === undefined || typeof repeatable === 'boolean') &&
    (signal === undefined || signal instanceof AbortSignal) &&
    (onProgress === undefined || typeof onProgress === 'function')
  );
}

function checkUrl(option: string, text: string, protocols: readonly string[], allowInsecure: boolean): URL {
  const url = URL.parse(text);
  const [secure, plain] = protocols.map((protocol) => `${protocol}//`);
  if (url === null || !protocols.includes(url.protocol)) throw new ConfigurationError(option, `expected a ${secure} or ${plain} URL`);
  if (url.username !== '' || url.password !== '') throw new ConfigurationError(option, 'holds a credential; use the option credentials');
  if (url.hash !== '') throw new ConfigurationError(option, 'expected no fragment');
  if (url.protocol === protocols[1] && !allowInsecure && !LOOPBACK.test(url.hostname)) {
    throw new ConfigurationError(option, `plain ${plain} to ${url.hostname}: use ${secure}, or say allowInsecure: true`);
  }
  return url;
}

function parse<S extends z.ZodType>(schema: S, value: unknown, root: string): z.output<S> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0] as z.core.$ZodIssue;
  const path = [...(root === '' ? [] : [root]), ...issue.path.map(String)];
  if (issue.code === 'unrecognized_keys') throw new ConfigurationError([...path, issue.keys[0]].join('.'), 'no such option');
  throw new ConfigurationError(path.join('.') || 'config', `${issue.message}, got ${describe(value, issue.path)}`);
}

/** The value at a path; never a token's. */
function describe(value: unknown, path: readonly PropertyKey[]): string {
  if (path[0] === 'credentials') return 'a value that is not shown';
  const found = path.reduce<unknown>((at, key) => (at as Record<PropertyKey, unknown> | undefined)?.[key], value);
  return typeof found === 'string' ? `'${found}'` : typeof found === 'object' && found !== null ? 'an object' : String(found);
}
