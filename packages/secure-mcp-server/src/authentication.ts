import {
  type AuditEvent,
  type AuthenticationRequest,
  type Authenticator,
  anonymous,
  type Clock,
  isRpcError,
  type Principal,
  RpcError,
} from '@mcp-blocks/core';

/** What {@link AuthenticationChain} needs. */
export interface AuthenticationChainOptions {
  readonly authenticators: readonly Authenticator[];
  readonly allowAnonymous: boolean;
  readonly clock: Clock;
  audit(event: AuditEvent): void;
  /** Told of every refusal. */
  onFailure(failure: { readonly transport: string; readonly remoteAddress?: string; readonly reason: string }): void;
  onError(error: Error): void;
  /** Completes the challenge of a refusal. Default: it stays as it is. */
  challenge?(error: unknown): unknown;
}

/** Headers that carry credentials. A caller who sends one is never taken for an anonymous one. */
const CREDENTIAL_HEADERS = ['authorization', 'x-api-key'];

/** Asks each authenticator in turn. Whoever fails gets `unauthenticated`, and the trail an `auth.failed`. */
export class AuthenticationChain {
  readonly #options: AuthenticationChainOptions;

  constructor(options: AuthenticationChainOptions) {
    this.#options = options;
  }

  async authenticate(request: AuthenticationRequest): Promise<Principal> {
    try {
      return await this.#ask(request);
    } catch (error) {
      const refusal = this.#refuse(request, error);
      throw this.#options.challenge?.(refusal) ?? refusal;
    }
  }

  async #ask(request: AuthenticationRequest): Promise<Principal> {
    for (const authenticator of this.#options.authenticators) {
      const principal = await authenticator.authenticate(request);
      if (principal === undefined) continue;
      if (principal.expiresAt !== undefined && principal.expiresAt <= this.#options.clock.now()) {
        throw invalidToken('The credentials have expired', 'expired');
      }
      return principal;
    }
    if (CREDENTIAL_HEADERS.some((name) => request.header(name) !== undefined)) {
      throw invalidToken('The credentials are not accepted here', 'unrecognised credentials');
    }
    if (this.#options.allowAnonymous) return anonymous;
    // RFC 6750 section 3.1: without credentials the challenge carries no error code.
    throw new RpcError('unauthenticated', 'Credentials are required, in the Authorization or X-API-Key header', {
      auditReason: 'no credentials',
      headers: { 'www-authenticate': 'Bearer realm="mcp"' },
    });
  }

  #refuse(request: AuthenticationRequest, error: unknown): RpcError {
    const { audit, clock, onError, onFailure } = this.#options;
    let refusal: RpcError;
    if (isRpcError(error)) {
      refusal = error;
      // Nothing is wrong with the caller: whoever runs the server wants to know.
      if (error.code === 'unavailable') onError(error.cause instanceof Error ? error.cause : error);
    } else {
      onError(error instanceof Error ? error : new Error(String(error)));
      refusal = new RpcError('unavailable', 'Authentication is not available at the moment', {
        auditReason: 'authenticator failed',
        cause: error,
      });
    }
    const reason = refusal.auditReason ?? refusal.message;
    const from = { transport: request.transport, ...(request.remoteAddress === undefined ? {} : { remoteAddress: request.remoteAddress }) };
    audit({ type: 'auth.failed', time: clock.now(), outcome: 'denied', actor: '-', reason, ...from });
    onFailure({ ...from, reason });
    return refusal;
  }
}

/**
 * The refusal of credentials that were presented, with the challenge of RFC 6750 section 3.
 * `message` reaches the caller, as `error_description` too; `auditReason` does not.
 */
export function invalidToken(message: string, auditReason: string, cause?: unknown): RpcError {
  return new RpcError('unauthenticated', message, {
    auditReason,
    ...(cause === undefined ? {} : { cause }),
    headers: { 'www-authenticate': `Bearer realm="mcp", error="invalid_token", error_description="${message}"` },
  });
}
