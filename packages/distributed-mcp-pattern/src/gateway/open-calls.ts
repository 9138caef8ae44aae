import { randomBytes } from 'node:crypto';
import {
  type CancelTimer,
  type Clock,
  ConfigurationError,
  canonicalJson,
  eraOf,
  type JsonObject,
  principalKey,
  type RpcContext,
  RpcError,
  type RpcRequest,
  type RpcResult,
} from '@mcp-blocks/core';
import { identityKey } from '../upstream/identity.js';
import { OpenCall } from './open-call.js';

/** Bounds of calls that wait for their callers' answers. */
export interface OpenCallsOptions {
  /** How long a caller has to answer a legacy server's questions, in milliseconds; 1 or more. Default: 600,000. */
  readonly ttlMs?: number;
  /** Most calls at a time that have asked their caller and have not ended; 1 or more. Default: 1,000. */
  readonly max?: number;
  /** Most of them of one principal; 1 or more. Default: 32. */
  readonly maxPerPrincipal?: number;
}

interface Waiting {
  readonly call: OpenCall;
  /** The request it began with, which the caller has to repeat. */
  readonly binding: string;
  readonly cancelExpiry: CancelTimer;
}

/** Marks states as ours; what an upstream server left with the caller goes back to it. */
const PREFIX = 'mcp-blocks-open-call:';

/** Methods whose results may require input (2026-07-28, "Multi Round-Trip Requests"). */
const METHODS: ReadonlySet<string> = new Set(['tools/call', 'prompts/get', 'resources/read']);

/**
 * Lets legacy servers ask modern callers: the call to the server stays open here while the caller is answered
 * `input_required`, with a `requestState` that names it. The name is 256 random bits, good for one use, by
 * the same principal with the same rights, for the same request.
 */
export class OpenCalls {
  readonly #clock: Clock;
  readonly #ttlMs: number;
  readonly #max: number;
  readonly #maxPerPrincipal: number;
  readonly #waiting = new Map<string, Waiting>();
  /** Calls that have asked and have not ended, with whose they are. */
  readonly #askers = new Map<OpenCall, string>();
  readonly #perOwner = new Map<string, number>();
  readonly #running = new Set<OpenCall>();
  #closed = false;

  /** @throws ConfigurationError naming the option that is wrong. */
  constructor({ ttlMs = 600_000, max = 1_000, maxPerPrincipal = 32 }: OpenCallsOptions, clock: Clock) {
    for (const [name, value] of Object.entries({ ttlMs, max, maxPerPrincipal })) {
      if (!Number.isSafeInteger(value) || value < 1 || value > 2_147_483_647) {
        throw new ConfigurationError(`openCalls.${name}`, `expected a whole number from 1, got ${String(value)}`);
      }
    }
    this.#clock = clock;
    this.#ttlMs = ttlMs;
    this.#max = max;
    this.#maxPerPrincipal = maxPerPrincipal;
  }

  /**
   * Sends a request, or goes on with the one its state names.
   * @throws RpcError `invalid_params` for a state that names no call of this principal and request.
   */
  async run(request: RpcRequest, context: RpcContext, send: (context: RpcContext) => Promise<RpcResult>): Promise<RpcResult> {
    const { requestState, inputResponses } = request.params;
    const resumes = typeof requestState === 'string' && requestState.startsWith(PREFIX);
    if (!resumes && !canBeAsked(request, context)) return send(context);
    if (this.#closed) throw new RpcError('unavailable', 'The gateway is closed');
    const call = resumes ? this.#take(requestState, request, context) : this.#begin(context, send);
    call.answer(resumes ? inputResponses : undefined);
    this.#running.add(call);
    try {
      const round = await call.round(context);
      return 'result' in round ? round.result : this.#leave(call, round.inputRequests, request, context);
    } finally {
      this.#running.delete(call);
    }
  }

  /** Ends every call that waits for its caller. Idempotent. */
  close(): void {
    this.#closed = true;
    for (const state of [...this.#waiting.keys()]) this.#remove(state)?.call.cancel(new Error('the gateway is closed'));
    for (const call of this.#running) call.cancel(new Error('the gateway is closed'));
  }

  #begin(context: RpcContext, send: (context: RpcContext) => Promise<RpcResult>): OpenCall {
    const owner = principalKey(context.principal);
    return new OpenCall(context, send, (call) => this.#admit(call, owner));
  }

  #admit(call: OpenCall, owner: string): void {
    if (this.#askers.has(call)) return;
    const own = this.#perOwner.get(owner) ?? 0;
    if (this.#askers.size >= this.#max || own >= this.#maxPerPrincipal) {
      throw new RpcError('unavailable', 'Too many calls wait for answers of their callers');
    }
    this.#askers.set(call, owner);
    this.#perOwner.set(owner, own + 1);
    void call.ended.then(() => {
      this.#askers.delete(call);
      const left = (this.#perOwner.get(owner) ?? 1) - 1;
      if (left === 0) this.#perOwner.delete(owner);
      else this.#perOwner.set(owner, left);
    });
  }

  #take(state: string, request: RpcRequest, context: RpcContext): OpenCall {
    const waiting = this.#waiting.get(state);
    if (waiting?.binding !== bindingOf(request, context)) {
      throw new RpcError('invalid_params', 'requestState: the call it belongs to has ended, is another one, or waits at another gateway', {
        auditReason: waiting === undefined ? 'unknown open call' : 'open call of another principal or request',
      });
    }
    this.#remove(state);
    return waiting.call;
  }

  #leave(call: OpenCall, inputRequests: JsonObject, request: RpcRequest, context: RpcContext): RpcResult {
    if (this.#closed) throw new RpcError('unavailable', 'The gateway is closed');
    const state = `${PREFIX}${randomBytes(32).toString('base64url')}`;
    const cancelExpiry = this.#clock.setTimeout(
      () => this.#remove(state)?.call.cancel(new Error(`the caller did not answer within ${this.#ttlMs} ms`)),
      this.#ttlMs,
    );
    this.#waiting.set(state, { call, binding: bindingOf(request, context), cancelExpiry });
    return { resultType: 'input_required', inputRequests, requestState: state };
  }

  #remove(state: string): Waiting | undefined {
    const waiting = this.#waiting.get(state);
    if (waiting === undefined) return undefined;
    this.#waiting.delete(state);
    waiting.cancelExpiry();
    return waiting;
  }
}

function canBeAsked({ method }: RpcRequest, { protocolVersion, request, clientCapabilities = {} }: RpcContext): boolean {
  if (request !== undefined || eraOf(protocolVersion) === 'legacy' || !METHODS.has(method)) return false;
  return ['elicitation', 'sampling', 'roots'].some((name) => clientCapabilities[name] !== undefined);
}

/** The members of a retry are its own, and so is what `_meta` says of it. */
function bindingOf({ method, params }: RpcRequest, { principal }: RpcContext): string {
  const { inputResponses: _responses, requestState: _state, _meta, ...rest } = params;
  return canonicalJson([identityKey(principal), method, rest]);
}
