import {
  type Clock,
  isJsonObject,
  isRpcError,
  type JsonObject,
  type Principal,
  type RpcContext,
  RpcError,
  type RpcRequest,
  type RpcResult,
} from '@mcp-blocks/core';
import type { ClusterNode, NodeOutcome } from './cluster-node.js';
import type { CallCounter } from './metrics.js';
import type { NodeSet } from './node-set.js';
import { ToolCatalog } from './tool-catalog.js';
import { TransportFailure } from './upstream/upstream.js';

/** How one call is sent. */
export interface RouteOptions {
  /**
   * Keeps the calls of a session on one node while that node can take requests, by rendezvous hashing.
   * Default: the legacy session of `context`; else the balancing strategy decides each call.
   */
  readonly sessionId?: string;
  /** On whose behalf, where there is no `context`: the `id` of the principal that `credentials` is asked for. */
  readonly userId?: string;
  /** The id of the node to use while it can take requests. */
  readonly preferredNode?: string;
  readonly signal?: AbortSignal;
  /** The context of the request that is passed on: its principal, client, progress and cancellation. */
  readonly context?: RpcContext;
}

/** What {@link Router} works with. */
export interface RouterOptions {
  readonly clusterName: string;
  readonly nodes: NodeSet;
  readonly counter: CallCounter;
  readonly clock: Clock;
  readonly requestTimeoutMs: number;
  readonly attempts: number;
  /** When a caller without a node is told to come back. */
  readonly retryAfterMs: () => number;
}

/** An error answer that says the node took no request; equal to one that could not be sent. */
const NOT_TAKEN = new Set(['unavailable']);

/** Sends calls to nodes and, where that is safe, to another node when one fails. */
export class Router {
  readonly catalog = new ToolCatalog();
  readonly #options: RouterOptions;

  constructor(options: RouterOptions) {
    this.#options = options;
  }

  async route(request: RpcRequest, options: RouteOptions): Promise<RpcResult> {
    const { clock, counter, requestTimeoutMs } = this.#options;
    const startedAt = clock.now();
    const deadline = new AbortController();
    const cancelDeadline = clock.setTimeout(() => deadline.abort(new TimeIsUp()), requestTimeoutMs);
    const signals = [deadline.signal, options.signal, options.context?.signal].filter((signal) => signal !== undefined);
    counter.total += 1;
    let succeeded = false;
    try {
      const result = await this.#attempt(request, options, AbortSignal.any(signals));
      succeeded = true;
      return result;
    } finally {
      cancelDeadline();
      counter.finish(startedAt, succeeded);
    }
  }

  async #attempt(request: RpcRequest, options: RouteOptions, signal: AbortSignal): Promise<RpcResult> {
    const { nodes, attempts, counter } = this.#options;
    const affinity = { preferredNode: options.preferredNode, sessionId: options.sessionId ?? options.context?.sessionId };
    const tried = new Set<string>();
    let lastFailure: unknown;
    while (tried.size < attempts) {
      const node = nodes.pick(affinity, tried);
      const finish = node?.begin();
      if (node === undefined || finish === undefined) break;
      if (tried.size > 0) counter.retries += 1;
      tried.add(node.id);
      try {
        const result = await this.#send(node, request, options, signal);
        finish('answered');
        this.catalog.learn(request.method, result);
        return result;
      } catch (error) {
        if (signal.aborted) {
          const timedOut = signal.reason instanceof TimeIsUp;
          finish(timedOut ? 'failed' : 'abandoned');
          throw timedOut ? await this.#timedOut(request) : new RpcError('cancelled', 'The call was cancelled', { cause: signal.reason });
        }
        finish(outcomeOf(error));
        if (!isRetryable(error)) throw error;
        if (
          error instanceof TransportFailure &&
          error.delivery === 'unknown' &&
          !(await this.#isRepeatable(request, options, signal, tried))
        ) {
          throw new RpcError('ambiguous_outcome', 'The connection was lost during the call; it may or may not have been carried out', {
            cause: error,
            auditReason: `node ${node.id}: ${error.message}`,
          });
        }
        lastFailure = error;
      }
    }
    throw this.#unavailable(lastFailure);
  }

  #send(node: ClusterNode, request: RpcRequest, options: RouteOptions, signal: AbortSignal): Promise<RpcResult> {
    const { context } = options;
    const principal = context?.principal ?? principalOf(options.userId);
    const token = isJsonObject(request.params._meta) ? request.params._meta.progressToken : undefined;
    return node.pool.use(principal, signal, (upstream) =>
      upstream.request({
        method: request.method,
        params: request.params,
        signal,
        ...(context?.clientInfo === undefined ? {} : { clientInfo: context.clientInfo }),
        ...(context?.clientCapabilities === undefined ? {} : { clientCapabilities: context.clientCapabilities }),
        ...(context === undefined || token === undefined ? {} : { onProgress: (progress) => forward(context, token, progress) }),
        ...(request.method === 'tools/call' ? inputSchemaOf(this.catalog.inputSchema(request.params.name)) : {}),
      }),
    );
  }

  /** Asks for the list of tools when a call fails on a tool that none has named yet. */
  async #isRepeatable(request: RpcRequest, options: RouteOptions, signal: AbortSignal, tried: ReadonlySet<string>): Promise<boolean> {
    const known = this.catalog.isRepeatable(request);
    if (known !== undefined) return known;
    let cursor: unknown;
    do {
      const node = this.#options.nodes.pick({}, tried);
      const finish = node?.begin();
      if (node === undefined || finish === undefined) return false;
      try {
        const list: RpcRequest = { method: 'tools/list', params: typeof cursor === 'string' ? { cursor } : {} };
        const page = await this.#send(node, list, options, signal);
        finish('answered');
        this.catalog.learn('tools/list', page);
        cursor = page.nextCursor;
      } catch (error) {
        finish(signal.aborted ? 'abandoned' : outcomeOf(error));
        return false;
      }
    } while (typeof cursor === 'string' && this.catalog.isRepeatable(request) === undefined);
    return this.catalog.isRepeatable(request) ?? false;
  }

  async #timedOut(request: RpcRequest): Promise<RpcError> {
    const { requestTimeoutMs } = this.#options;
    return this.catalog.isRepeatable(request)
      ? new RpcError('timeout', `No answer within ${requestTimeoutMs} ms`)
      : new RpcError('ambiguous_outcome', `No answer within ${requestTimeoutMs} ms; the call may or may not have been carried out`);
  }

  #unavailable(cause: unknown): RpcError {
    if (cause instanceof TransportFailure && !cause.blamesNode) {
      return new RpcError('upstream_error', `The nodes of ${this.#options.clusterName} refused the cluster's request`, {
        cause,
        auditReason: cause.message,
      });
    }
    const retryAfterMs = this.#options.retryAfterMs();
    return new RpcError('unavailable', `No node of ${this.#options.clusterName} can take the call now`, {
      data: { retryAfterMs },
      headers: { 'retry-after': String(Math.max(1, Math.ceil(retryAfterMs / 1000))) },
      ...(cause === undefined ? {} : { cause, auditReason: cause instanceof Error ? cause.message : String(cause) }),
    });
  }
}

class TimeIsUp extends Error {}

/** An error answer of the node is an answer, except one that says it takes no requests. */
function outcomeOf(error: unknown): NodeOutcome {
  if (error instanceof TransportFailure) return error.blamesNode ? 'failed' : 'abandoned';
  if (!isRpcError(error)) return 'abandoned';
  return NOT_TAKEN.has(error.code) ? 'failed' : 'answered';
}

function isRetryable(error: unknown): boolean {
  return error instanceof TransportFailure || (isRpcError(error) && NOT_TAKEN.has(error.code));
}

function principalOf(userId: string | undefined): Principal | undefined {
  return userId === undefined ? undefined : { id: userId, authentication: 'cluster', roles: [], scopes: [] };
}

function forward(context: RpcContext, progressToken: unknown, progress: JsonObject): void {
  // A caller that is gone hears of nothing; its request ends by its signal.
  context.notify('notifications/progress', { ...progress, progressToken: progressToken as string }).catch(() => {});
}

function inputSchemaOf(inputSchema: JsonObject | undefined) {
  return inputSchema === undefined ? {} : { inputSchema };
}
