import { type Clock, eraOf, isJsonObject, type JsonObject, type Principal, type RpcContext, type RpcResult } from '@mcp-blocks/core';
import { type Call, NoNode, outcomeOf, requestedPauseMs, TryTimeout } from './call.js';
import type { ClusterNode, NodeOutcome } from './cluster-node.js';
import { Deadline } from './deadline.js';
import type { CallCounter } from './metrics.js';
import type { NodeSet } from './node-set.js';
import { Pauses } from './pauses.js';
import type { ToolCatalog } from './tool-catalog.js';
import type { UpstreamRequest } from './upstream/upstream.js';

/** Why a request is sent: for the call itself, again, in parallel, or to learn about tools. */
export type SendKind = 'first' | 'retry' | 'hedge' | 'lookup';

/** What {@link NodeSender} works with. */
export interface NodeSenderOptions {
  readonly nodes: NodeSet;
  readonly catalog: ToolCatalog;
  readonly counter: CallCounter;
  readonly clock: Clock;
  /** For one request to one node. Absent: as long as the call has. */
  readonly perTryTimeoutMs: number | undefined;
}

/** The call has time left, but this attempt has not. */
class TryIsUp extends Error {}

/** The call's time is up. */
export class TimeIsUp extends Error {}

/** Sends a call to one node: chooses it, waits for a place there, and reports how it went. */
export class NodeSender {
  readonly #options: NodeSenderOptions;
  readonly #paused = new Set<ClusterNode>();

  constructor(options: NodeSenderOptions) {
    this.#options = options;
  }

  /**
   * Rejects with {@link NoNode} when no node can take it, with `TransportFailure` when it gave no answer, and
   * with `RpcError` when it answered with an error; when `signal` aborts, with its reason.
   */
  async send(call: Call, kind: SendKind, signal: AbortSignal = call.signal): Promise<RpcResult> {
    const { catalog, counter, clock, perTryTimeoutMs } = this.#options;
    const { node, finish } = await this.#enter(call, kind, signal);
    call.tried.add(node.id);
    if (kind === 'retry') counter.retries += 1;
    if (kind === 'hedge') counter.hedges += 1;
    const tryEnd = perTryTimeoutMs === undefined ? undefined : new Deadline(clock, perTryTimeoutMs, () => new TryIsUp());
    const pauses = new Pauses(clock, [call.deadline, ...(tryEnd === undefined ? [] : [tryEnd])]);
    call.sending += 1;
    try {
      const both = tryEnd === undefined ? signal : AbortSignal.any([signal, tryEnd.signal]);
      const result = await this.#request(node, call, kind, both, pauses);
      finish('answered', pauses.totalMs);
      catalog.learn(call.request.method, result);
      call.sending -= 1;
      return result;
    } catch (error) {
      if (signal.aborted) {
        finish(signal.reason instanceof TimeIsUp ? 'no-answer' : 'abandoned', pauses.totalMs);
        if (!call.signal.aborted) call.sending -= 1;
        throw signal.reason;
      }
      call.sending -= 1;
      if (tryEnd?.signal.aborted) {
        finish('no-answer', pauses.totalMs);
        throw new TryTimeout(perTryTimeoutMs as number);
      }
      finish(outcomeOf(error), pauses.totalMs);
      const pauseMs = requestedPauseMs(error);
      if (pauseMs !== undefined) {
        node.pause(pauseMs);
        this.#paused.add(node);
      }
      throw error;
    } finally {
      tryEnd?.end();
    }
  }

  /** Chooses a node and takes a place there: where there is room, else where the call waits for it. */
  async #enter(
    call: Call,
    kind: SendKind,
    signal: AbortSignal,
  ): Promise<{ readonly node: ClusterNode; readonly finish: (outcome: NodeOutcome, waitedMs?: number) => void }> {
    const refused = new Set(call.tried);
    for (;;) {
      const chosen = this.#choose(call, kind, refused);
      if (chosen === undefined) throw new NoNode();
      const free = chosen.bulkhead.hasRoom ? chosen : this.#choose(call, kind, new Set([...refused, ...this.#full()]));
      const node = free ?? chosen;
      // The second request of a call is not worth a wait.
      const entered = node.bulkhead.enter() || (kind !== 'hedge' && (await node.bulkhead.wait(signal)));
      const finish = entered ? node.begin() : undefined;
      if (finish !== undefined) return { node, finish };
      // Its queue is full, or while the call waited there it went away or its circuit opened.
      refused.add(node.id);
    }
  }

  /** Nodes that asked to be left alone get no call while others can take it, and no call again at all. */
  #choose({ info, options }: Call, kind: SendKind, exclude: ReadonlySet<string>): ClusterNode | undefined {
    const { nodes } = this.#options;
    for (const node of this.#paused) if (!node.paused) this.#paused.delete(node);
    if (this.#paused.size === 0) return nodes.pick({ ...info, exclude }, options.preferredNode);
    const avoid = new Set([...exclude, ...[...this.#paused].map(({ id }) => id)]);
    const other = nodes.pick({ ...info, exclude: avoid }, options.preferredNode);
    return other === undefined && kind === 'first' ? nodes.pick({ ...info, exclude }, options.preferredNode) : other;
  }

  #full(): string[] {
    return this.#options.nodes.all.filter(({ bulkhead }) => !bulkhead.hasRoom).map(({ id }) => id);
  }

  #request(node: ClusterNode, call: Call, kind: SendKind, signal: AbortSignal, pauses: Pauses): Promise<RpcResult> {
    const { request, options } = call;
    const { context } = options;
    const { catalog } = this.#options;
    const principal = context?.principal ?? principalOf(options.userId);
    // Of two parallel requests only one tells of its progress, and asks.
    const teller = kind === 'hedge' || kind === 'lookup' ? undefined : context;
    const ask = teller === undefined ? undefined : questionsTo(teller, pauses);
    const questions = ask === undefined ? undefined : askable(teller?.clientCapabilities);
    return node.pool.use({ principal, questions, session: call.session?.at(node.id) }, signal, (upstream) =>
      upstream.request({
        method: request.method,
        params: request.params,
        signal,
        ...(context?.clientInfo === undefined ? {} : { clientInfo: context.clientInfo }),
        ...(context?.clientCapabilities === undefined ? {} : { clientCapabilities: context.clientCapabilities }),
        ...(teller === undefined ? {} : tellersOf(teller, request.params)),
        ...(questions === undefined || ask === undefined ? {} : { ask }),
        ...(request.method === 'tools/call' ? inputSchemaOf(catalog.inputSchema(request.params.name)) : {}),
      }),
    );
  }
}

/** What a client can declare that a server may ask for. */
const ASKABLE = ['elicitation', 'sampling', 'roots'];

/** As much of a client's capabilities as lets a server ask it something. */
function askable(capabilities: JsonObject | undefined): JsonObject | undefined {
  const entries = Object.entries(capabilities ?? {}).filter(([name]) => ASKABLE.includes(name));
  return entries.length === 0 ? undefined : Object.fromEntries(entries);
}

function questionsTo({ request }: RpcContext, pauses: Pauses): UpstreamRequest['ask'] {
  return request === undefined ? undefined : (method, params) => pauses.during(() => request(method, params));
}

/** What the caller wants to be told before the result. */
function tellersOf(context: RpcContext, { _meta: meta }: JsonObject): Pick<UpstreamRequest, 'logLevel' | 'onNotification' | 'onProgress'> {
  const tell = (method: string, params: JsonObject) => {
    // A caller that is gone hears of nothing; its request ends by its signal.
    context.notify(method, params).catch(() => {});
  };
  const token = isJsonObject(meta) ? meta.progressToken : undefined;
  // In the legacy era the level belongs to the session, and the listener filters by it.
  const logLevel = eraOf(context.protocolVersion) === 'legacy' ? 'debug' : context.logLevel;
  return {
    onNotification: tell,
    ...(logLevel === undefined ? {} : { logLevel }),
    ...(token === undefined
      ? {}
      : { onProgress: (progress) => tell('notifications/progress', { ...progress, progressToken: token as string }) }),
  };
}

function principalOf(userId: string | undefined): Principal | undefined {
  return userId === undefined ? undefined : { id: userId, authentication: 'cluster', roles: [], scopes: [] };
}

function inputSchemaOf(inputSchema: JsonObject | undefined) {
  return inputSchema === undefined ? {} : { inputSchema };
}
