import { type AuditSink, type Clock, ConfigurationError, type RpcContext, type RpcRequest } from '@mcp-blocks/core';
import { z } from 'zod';
import type { AccessListEntry } from './access-list.js';
import { isDimension, type RateLimitDimensions } from './key.js';
import type { LimitAlgorithm, LimitRule, LimitStore } from './limit-store.js';

/** Names whose count a call is charged to; `undefined` when the limit does not apply to the call. */
export type RateLimitKey = (request: RpcRequest, context: RpcContext) => string | undefined;

interface LimitScope {
  /**
   * What is counted separately:
   * - `principal`: each caller, across all methods and OAuth clients (all anonymous callers are one caller);
   * - `apiKey`: each caller who came with an API key; applies to those only;
   * - `clientId`: each OAuth client; applies to callers whose token names one;
   * - `ip`: each caller's address, of IPv6 the /64 network; applies where the transport has addresses;
   * - `tool`: each tool, all callers together; applies to `tools/call` only;
   * - `method`: each MCP method, all callers together;
   * - up to three of them joined by `+`, such as `principal+tool`: each combination;
   * - a function: each string it returns.
   */
  readonly by: RateLimitDimensions | RateLimitKey;
  /** The methods it applies to. Default: all but `ping`, `server/discover` and `initialize`. */
  readonly methods?: readonly string[];
  /** The tools it applies to; narrows the limit to `tools/call`. Default: all. */
  readonly tools?: readonly string[];
  /** Names it in response headers, audit and status; unique. Default: `by`, or `custom`, numbered when repeated. */
  readonly name?: string;
}

/** So many requests per window. */
export interface RequestLimit extends LimitScope {
  /** Requests allowed in a window; a positive integer. */
  readonly requests: number;
  /** Length of the window in milliseconds, 1 to 2,147,483,647 (about 24 days). */
  readonly windowMs: number;
  /**
   * How requests are counted. Default: `fixed-window`.
   * - `fixed-window`: a window opens with a key's first request and the count starts anew when it is over;
   *   up to twice `requests` can pass around the seam of two windows;
   * - `sliding-window`: never more than `requests` in any stretch of `windowMs`; a request counts for
   *   `windowMs`, or up to a thirtieth of it longer;
   * - `token-bucket`: a bucket that holds `burst` and fills evenly with `requests` per `windowMs`.
   */
  readonly algorithm?: LimitAlgorithm;
  /** Size of the token bucket: how many requests may come at once. Only with `token-bucket`. Default: `requests`. */
  readonly burst?: number;
  /**
   * How many requests a call counts for: a positive integer, or a function that answers an integer from 0
   * (not counted) on. A call that costs more than the limit ever allows is always refused. Default: 1.
   */
  readonly cost?: number | RateLimitCost;
  /**
   * Gives the cost back when the call has succeeded, so that only failed calls count; until then it counts.
   * For windows: a token bucket may have filled up meanwhile, and would then let too many through.
   * Default: false.
   */
  readonly skipSuccessful?: boolean;
  /**
   * The same when the call has failed: an error, or a result with `isError`. Not when its signal had aborted, by the
   * caller or a deadline: a caller could have work done for nothing. Default: false.
   */
  readonly skipFailed?: boolean;
}

/** Computes what a call costs. */
export type RateLimitCost = (request: RpcRequest, context: RpcContext) => number;

/**
 * So many calls in progress at a time: of all processes on one Redis (`redisLimits`), else, and with `clusterLimits`
 * too, of each process alone.
 */
export interface ConcurrencyLimit extends LimitScope {
  /** Calls in progress at a time; a positive integer. A call ends when its handler has settled. */
  readonly concurrent: number;
}

/** One limit, counted separately for each key. */
export type RateLimit = RequestLimit | ConcurrencyLimit;

/** Options of `RateLimitedRPC`. */
export interface RateLimitedRpcOptions {
  /** At least one. A call passes when every limit that applies to it has room. */
  readonly limits: readonly RateLimit[];
  /** Calls that no limit applies to. Default: none. */
  readonly exempt?: (request: RpcRequest, context: RpcContext) => boolean;
  /** Calls that no limit applies to, as a list that can change. At most 10,000 entries. Default: none. */
  readonly allowList?: readonly AccessListEntry[];
  /** Calls that are refused with `forbidden` whatever the limits say; goes before the allow list. As many. Default: none. */
  readonly denyList?: readonly AccessListEntry[];
  /** Gets a `rate.limited` event for every refused call. */
  readonly audit?: AuditSink;
  /**
   * Most keys one limit counts separately in this process's memory at a time; further ones share one count
   * until older ones end. Bounds memory against callers who invent tool names. 1 to 1,000,000.
   * Default: 10,000.
   */
  readonly maxKeys?: number;
  /** Where requests are counted. Default: in this process. */
  readonly store?: LimitStore;
  /** Default: the machine's. */
  readonly clock?: Clock;
}

/** Methods a limit applies to only when it lists them: a refused one would hide that the server lives. */
export const UNLIMITED_METHODS: ReadonlySet<string> = new Set(['ping', 'server/discover', 'initialize']);

const names = z.array(z.string().min(1)).min(1, 'expected at least one entry').readonly();
const callable = z.custom<(...args: never[]) => unknown>((value) => typeof value === 'function', 'expected a function');
const having = (method: string, what: string) =>
  z.custom((value) => typeof (value as Record<string, unknown> | null)?.[method] === 'function', `expected ${what}`).optional();

const BY = "expected one to three of 'principal', 'apiKey', 'clientId', 'ip', 'tool', 'method' joined by '+', or a function";

const schema = z.strictObject({
  limits: z
    .array(
      z.strictObject({
        by: z.custom((value) => typeof value === 'function' || (typeof value === 'string' && areDimensions(value)), BY),
        requests: z.int().min(1).optional(),
        windowMs: z.int().min(1).max(2_147_483_647).optional(),
        algorithm: z
          .enum(['fixed-window', 'sliding-window', 'token-bucket'], "expected 'fixed-window', 'sliding-window' or 'token-bucket'")
          .optional(),
        burst: z.int().min(1).optional(),
        cost: z.union([z.int().min(1), callable], { error: 'expected a positive integer or a function' }).optional(),
        skipSuccessful: z.boolean().optional(),
        skipFailed: z.boolean().optional(),
        concurrent: z.int().min(1).optional(),
        methods: names.optional(),
        tools: names.optional(),
        // Goes into a structured-field string (RFC 9651) in the response headers.
        name: z
          .string()
          .regex(/^[A-Za-z0-9_.:+/-]{1,64}$/, 'expected 1 to 64 letters, digits or _ . : + / -')
          .optional(),
      }),
    )
    .min(1, 'expected at least one limit'),
  exempt: callable.optional(),
  // Their entries are checked where they are entered, at start-up and later.
  allowList: z.array(z.unknown()).optional(),
  denyList: z.array(z.unknown()).optional(),
  audit: having('record', 'an AuditSink'),
  maxKeys: z.int().min(1).max(1_000_000).optional(),
  store: having('open', 'a LimitStore'),
  clock: having('now', 'a Clock'),
});

/** A request limit with its name and defaults. */
export interface NamedRequestLimit extends RequestLimit {
  readonly name: string;
  readonly rule: LimitRule;
}

export type NamedLimit = NamedRequestLimit | (ConcurrencyLimit & { readonly name: string });

export function isConcurrency<Limit extends RateLimit>(limit: Limit): limit is Extract<Limit, ConcurrencyLimit> {
  return (limit as Partial<ConcurrencyLimit>).concurrent !== undefined;
}

/**
 * Checks the options and gives every limit its name.
 * @throws ConfigurationError naming the option and its value.
 */
export function checkOptions(options: RateLimitedRpcOptions): readonly NamedLimit[] {
  const parsed = schema.safeParse(options);
  const issue = parsed.error?.issues[0];
  if (issue !== undefined) {
    const bad = issue.path.reduce<unknown>((value, key) => (value as Record<PropertyKey, unknown> | undefined)?.[key], options);
    throw new ConfigurationError(pathOf(issue.path), `${issue.message}, got ${shown(bad)}`);
  }
  const taken = new Set<string>();
  return options.limits.map((limit, index) => {
    const at = `limits[${index}]`;
    checkScope(limit, at);
    checkAmounts(limit, at);
    const name = limit.name ?? freeName(typeof limit.by === 'string' ? limit.by : 'custom', taken);
    if (taken.has(name)) throw new ConfigurationError(`${at}.name`, `'${name}' is another limit's name; names are unique`);
    taken.add(name);
    if (isConcurrency(limit)) return { ...limit, name };
    const { algorithm = 'fixed-window', requests, windowMs, burst = requests } = limit;
    return { ...limit, name, rule: { name, algorithm, requests, windowMs, burst } };
  });
}

function areDimensions(by: string): boolean {
  const parts = by.split('+');
  return parts.length <= 3 && new Set(parts).size === parts.length && parts.every(isDimension);
}

function checkScope({ by, methods, tools }: RateLimit, at: string): void {
  if (tools !== undefined && methods?.some((method) => method !== 'tools/call')) {
    throw new ConfigurationError(`${at}.methods`, `with 'tools' the limit applies to tools/call only, got ${shown(methods)}`);
  }
  if (typeof by === 'string' && by.split('+').includes('tool') && methods !== undefined && !methods.includes('tools/call')) {
    throw new ConfigurationError(`${at}.methods`, `a limit by '${by}' applies to tools/call only, got ${shown(methods)}`);
  }
}

const REQUEST_MEMBERS = ['requests', 'windowMs', 'algorithm', 'burst', 'cost', 'skipSuccessful', 'skipFailed'] as const;

function checkAmounts(limit: RateLimit, at: string): void {
  const given = limit as Partial<RequestLimit & ConcurrencyLimit>;
  if (given.concurrent !== undefined) {
    const extra = REQUEST_MEMBERS.find((member) => given[member] !== undefined);
    if (extra !== undefined) throw new ConfigurationError(`${at}.${extra}`, "a limit with 'concurrent' counts calls in progress only");
    return;
  }
  const { requests, windowMs, burst, cost } = given;
  if (requests === undefined) throw new ConfigurationError(`${at}.requests`, "expected 'requests' and 'windowMs', or 'concurrent'");
  if (windowMs === undefined) throw new ConfigurationError(`${at}.windowMs`, "expected 'windowMs' beside 'requests'");
  if (burst !== undefined && given.algorithm !== 'token-bucket') {
    throw new ConfigurationError(`${at}.burst`, "only a limit with algorithm 'token-bucket' has a burst");
  }
  const size = burst ?? requests;
  if (given.algorithm === 'token-bucket' && size * windowMs > Number.MAX_SAFE_INTEGER) {
    throw new ConfigurationError(`${at}.burst`, `the bucket's size times windowMs must stay below 2^53, got ${size} times ${windowMs}`);
  }
  if (typeof cost === 'number' && cost > size) {
    throw new ConfigurationError(`${at}.cost`, `expected at most ${size}, which is all the limit ever allows, got ${cost}`);
  }
  const skip = (['skipSuccessful', 'skipFailed'] as const).find((member) => given[member] === true);
  if (skip !== undefined && given.algorithm === 'token-bucket') {
    throw new ConfigurationError(`${at}.${skip}`, 'a token bucket gives nothing back; choose a window');
  }
  if (given.skipSuccessful === true && given.skipFailed === true) {
    throw new ConfigurationError(`${at}.skipFailed`, "with 'skipSuccessful' nothing would be counted");
  }
}

function freeName(base: string, taken: ReadonlySet<string>): string {
  let name = base;
  for (let number = 2; taken.has(name); number += 1) name = `${base}-${number}`;
  return name;
}

function pathOf(path: readonly PropertyKey[]): string {
  const text = path.map((key) => (typeof key === 'number' ? `[${key}]` : `.${String(key)}`)).join('');
  return text.replace(/^\./, '') || 'options';
}

function shown(value: unknown): string {
  return typeof value === 'function' ? 'a function' : (JSON.stringify(value) ?? String(value)).slice(0, 100);
}
