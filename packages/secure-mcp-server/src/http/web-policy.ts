import type { IncomingMessage } from 'node:http';
import { isLoopbackAddress, type RequestGuard } from '@mcp-blocks/core/node';

/** Request headers of MCP and of authentication; `Mcp-Param-*` besides. */
const REQUEST_HEADERS: ReadonlySet<string> = new Set([
  'accept',
  'authorization',
  'baggage',
  'content-type',
  'last-event-id',
  'mcp-method',
  'mcp-name',
  'mcp-protocol-version',
  'mcp-session-id',
  'traceparent',
  'tracestate',
  'x-api-key',
]);

const EXPOSED_HEADERS = 'Mcp-Session-Id, MCP-Protocol-Version, WWW-Authenticate, Retry-After, RateLimit, RateLimit-Policy';

/** Seconds for which a browser need not ask again. */
const PREFLIGHT_MAX_AGE = '600';

const SECURITY_HEADERS: Readonly<Record<string, string>> = {
  'x-content-type-options': 'nosniff',
  'cache-control': 'no-store',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'referrer-policy': 'no-referrer',
};

/** How {@link WebPolicy} decides. */
export interface WebPolicyOptions {
  /** Whether scripts of the origins that the guard lets in may read answers. */
  readonly cors: boolean;
  readonly guard: RequestGuard;
  readonly isTls: boolean;
  readonly bindAddress: string;
}

/** What is said to browsers: headers against misuse of answers, and CORS (Fetch standard, section 3.3). */
export class WebPolicy {
  readonly #options: WebPolicyOptions;
  readonly #base: Readonly<Record<string, string>>;

  constructor(options: WebPolicyOptions) {
    this.#options = options;
    // On loopback it would bind every other development server of the machine to HTTPS.
    const isStrict = options.isTls && !isLoopbackAddress(options.bindAddress);
    this.#base = { ...SECURITY_HEADERS, ...(isStrict ? { 'strict-transport-security': 'max-age=31536000' } : {}) };
  }

  /** The headers of every answer to `request`. */
  headers(request: IncomingMessage): Readonly<Record<string, string>> {
    if (!this.#options.cors) return this.#base;
    const { origin } = request.headers;
    const vary = { ...this.#base, vary: 'Origin' };
    if (origin === undefined || !this.#isAllowed(request)) return vary;
    return { ...vary, 'access-control-allow-origin': origin, 'access-control-expose-headers': EXPOSED_HEADERS };
  }

  /** The answer to a browser that asks first whether it may send a request; `undefined` for anything else. */
  preflight(request: IncomingMessage, methods: readonly string[]): Response | undefined {
    const { origin, 'access-control-request-headers': wanted = '' } = request.headers;
    const isPreflight = request.method === 'OPTIONS' && request.headers['access-control-request-method'] !== undefined;
    if (!this.#options.cors || !isPreflight || origin === undefined || !this.#isAllowed(request)) return undefined;
    const names = wanted.split(',').map((name) => name.trim().toLowerCase());
    return new Response(null, {
      status: 204,
      headers: {
        'access-control-allow-methods': methods.join(', '),
        'access-control-allow-headers': names.filter((name) => REQUEST_HEADERS.has(name) || /^mcp-param-[\w-]+$/.test(name)).join(', '),
        'access-control-max-age': PREFLIGHT_MAX_AGE,
      },
    });
  }

  #isAllowed(request: IncomingMessage): boolean {
    try {
      this.#options.guard.check(request.headers);
      return true;
    } catch {
      return false;
    }
  }
}
