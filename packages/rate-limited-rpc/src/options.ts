import { type AuditSink, ConfigurationError, type RpcContext, type RpcRequest } from '@mcp-blocks/core';
import { z } from 'zod';

/** Names whose count a call is charged to; `undefined` when the limit does not apply to the call. */
export type RateLimitKey = (request: RpcRequest, context: RpcContext) => string | undefined;

/** One limit: so many requests per window, counted separately for each key. */
export interface RateLimit {
  /**
   * What is counted separately:
   * - `principal`: each caller, across all methods (all anonymous callers are one caller);
   * - `tool`: each tool, all callers together; applies to `tools/call` only;
   * - `principal+tool`: each tool for each caller; applies to `tools/call` only;
   * - `method`: each MCP method, all callers together;
   * - a function: each string it returns, such as `(_, { remoteAddress }) => remoteAddress`.
   */
  readonly by: 'principal' | 'tool' | 'method' | 'principal+tool' | RateLimitKey;
  /** Requests allowed in a window; a positive integer. */
  readonly requests: number;
  /**
   * Length of the window in milliseconds, 1 to 2,147,483,647 (about 24 days). A window is fixed: it opens
   * with a key's first request and the count starts anew when it is over.
   */
  readonly windowMs: number;
  /** The methods it applies to. Default: all but `ping`, `server/discover` and `initialize`. */
  readonly methods?: readonly string[];
  /** The tools it applies to; narrows the limit to `tools/call`. Default: all. */
  readonly tools?: readonly string[];
  /** Names it in response headers, audit and status; unique. Default: `by`, or `custom`, numbered when repeated. */
  readonly name?: string;
}

/** Options of `RateLimitedRPC`. */
export interface RateLimitedRpcOptions {
  /** At least one. A call passes when every limit that applies to it has room. */
  readonly limits: readonly RateLimit[];
  /** Calls that no limit applies to. Default: none. */
  readonly exempt?: (request: RpcRequest, context: RpcContext) => boolean;
  /** Gets a `rate.limited` event for every refused call. */
  readonly audit?: AuditSink;
  /**
   * Most keys one limit counts separately at a time; further ones share one counter until older windows
   * end. Bounds memory against callers who invent tool names. 1 to 1,000,000. Default: 10,000.
   */
  readonly maxKeys?: number;
}

/** Methods a limit applies to only when it lists them: a refused one would hide that the server lives. */
export const UNLIMITED_METHODS: ReadonlySet<string> = new Set(['ping', 'server/discover', 'initialize']);

const names = z.array(z.string().min(1)).min(1, 'expected at least one entry').readonly();
const callable = z.custom<(...args: never[]) => unknown>((value) => typeof value === 'function', 'expected a function');

const schema = z.strictObject({
  limits: z
    .array(
      z.strictObject({
        by: z.union([z.enum(['principal', 'tool', 'method', 'principal+tool']), callable], {
          error: "expected 'principal', 'tool', 'method', 'principal+tool' or a function",
        }),
        requests: z.int().min(1),
        windowMs: z.int().min(1).max(2_147_483_647),
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
  audit: z.custom<AuditSink>((value) => typeof (value as AuditSink | null)?.record === 'function', 'expected an AuditSink').optional(),
  maxKeys: z.int().min(1).max(1_000_000).optional(),
});

/**
 * Checks the options and gives every limit its name.
 * @throws ConfigurationError naming the option and its value.
 */
export function checkOptions(options: RateLimitedRpcOptions): readonly (RateLimit & { readonly name: string })[] {
  const parsed = schema.safeParse(options);
  const issue = parsed.error?.issues[0];
  if (issue !== undefined) {
    const bad = issue.path.reduce<unknown>((value, key) => (value as Record<PropertyKey, unknown> | undefined)?.[key], options);
    throw new ConfigurationError(pathOf(issue.path), `${issue.message}, got ${shown(bad)}`);
  }
  const taken = new Set<string>();
  return options.limits.map((limit, index) => {
    checkScope(limit, `limits[${index}]`);
    const name = limit.name ?? freeName(typeof limit.by === 'string' ? limit.by : 'custom', taken);
    if (taken.has(name)) throw new ConfigurationError(`limits[${index}].name`, `'${name}' is another limit's name; names are unique`);
    taken.add(name);
    return { ...limit, name };
  });
}

function checkScope({ by, methods, tools }: RateLimit, at: string): void {
  if (tools !== undefined && methods?.some((method) => method !== 'tools/call')) {
    throw new ConfigurationError(`${at}.methods`, `with 'tools' the limit applies to tools/call only, got ${shown(methods)}`);
  }
  if ((by === 'tool' || by === 'principal+tool') && methods !== undefined && !methods.includes('tools/call')) {
    throw new ConfigurationError(`${at}.methods`, `a limit by '${by}' applies to tools/call only, got ${shown(methods)}`);
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
