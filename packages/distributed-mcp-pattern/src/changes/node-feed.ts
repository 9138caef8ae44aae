import {
  type Clock,
  isRpcError,
  type Principal,
  type Random,
  RpcError,
  type ServiceEvent,
  type ServiceNode,
  sleep,
} from '@mcp-blocks/core';
import { abortable } from '../abortable.js';
import { type CredentialsProvider, mint } from '../upstream/connection-pool.js';
import { type Connect, TransportFailure, type Upstream } from '../upstream/upstream.js';

/** What {@link NodeFeed} works with. */
export interface NodeFeedOptions {
  readonly node: ServiceNode;
  readonly connect: Connect;
  readonly credentials: CredentialsProvider | undefined;
  readonly principal: Principal | undefined;
  readonly clock: Clock;
  readonly random: Random;
}

/** What changed lists may have changed while nobody heard of it. */
export const ALL_LISTS: readonly ServiceEvent[] = [
  { kind: 'tools_list_changed' },
  { kind: 'prompts_list_changed' },
  { kind: 'resources_list_changed' },
];

/** A silent connection is checked this often, and given up when the check takes longer than its time. */
const KEEP_ALIVE_MS = 15_000;
const KEEP_ALIVE_TIMEOUT_MS = 5_000;
const FIRST_RETRY_MS = 250;
const MAX_RETRY_MS = 30_000;

/** Failures after which the same question may be answered otherwise later. */
const PASSING = new Set(['unavailable', 'rate_limited', 'timeout', 'upstream_error', 'internal_error', 'unauthenticated']);

/**
 * Hears of the changes at one node, on behalf of one principal, over a connection of its own. Finds its way
 * back when the connection is lost, and then reports everything it watches as changed.
 */
export class NodeFeed {
  readonly #options: NodeFeedOptions;
  #node: ServiceNode;
  readonly #topics = new Map<string | undefined, AbortController>();
  readonly #abort = new AbortController();
  readonly #closing = new Set<Promise<void>>();
  #connection: Promise<Upstream> | undefined;
  #stopKeeping: () => void = () => {};

  constructor(options: NodeFeedOptions) {
    this.#options = options;
    this.#node = options.node;
  }

  /** Takes over what discovery says of the node now, for the next connection. */
  describe(node: ServiceNode): void {
    this.#node = node;
  }

  /**
   * Watches a resource, or without one the lists, until {@link remove}. Resolves when the node has agreed;
   * rejects when the first attempt fails, while others follow unless the node refused.
   */
  add(uri: string | undefined, onEvent: (event: ServiceEvent) => void): Promise<void> {
    const removal = new AbortController();
    this.#topics.set(uri, removal);
    const signal = AbortSignal.any([removal.signal, this.#abort.signal]);
    return new Promise((resolve, reject) => {
      void this.#follow(uri, onEvent, signal, resolve, reject).finally(() => reject(new RpcError('cancelled', 'Not watched any more')));
    });
  }

  remove(uri: string | undefined): void {
    this.#topics.get(uri)?.abort();
    this.#topics.delete(uri);
  }

  /** Idempotent. */
  async close(): Promise<void> {
    this.#abort.abort();
    this.#drop();
    await Promise.all(this.#closing);
  }

  async #follow(
    uri: string | undefined,
    onEvent: (event: ServiceEvent) => void,
    signal: AbortSignal,
    agreed: () => void,
    failed: (error: unknown) => void,
  ): Promise<void> {
    let failures = 0;
    let heard = false;
    while (!signal.aborted) {
      let upstream: Promise<Upstream> | undefined;
      try {
        upstream = this.#connected();
        const { watch } = await this.#watch(await abortable(upstream, signal), uri, onEvent, signal);
        if (heard) for (const event of missed(uri)) onEvent(event);
        heard = true;
        failures = 0;
        agreed();
        await abortable(watch.ended, signal).catch(() => {});
        if (signal.aborted) return await this.#leave(watch.close());
      } catch (error) {
        if (signal.aborted) return;
        failed(error);
        if (isRpcError(error) && !PASSING.has(error.code)) {
          if (heard) for (const event of missed(uri)) onEvent(event);
          return;
        }
        if (!isRpcError(error) && this.#connection === upstream) this.#drop();
      }
      failures += 1;
      await this.#pause(failures, signal);
    }
  }

  async #watch(upstream: Upstream, uri: string | undefined, onEvent: (event: ServiceEvent) => void, signal: AbortSignal) {
    if (upstream.watch === undefined) throw new RpcError('method_not_found', 'The connection to the node does not tell of changes');
    const opening = upstream.watch(uri, onEvent);
    try {
      return { watch: await abortable(opening, signal) };
    } catch (error) {
      if (signal.aborted) void this.#leave(opening.then((late) => late.close()));
      throw error;
    }
  }

  #connected(): Promise<Upstream> {
    if (this.#connection !== undefined) return this.#connection;
    const { connect, credentials, principal, clock } = this.#options;
    const { signal } = this.#abort;
    const open = async () => {
      const own = await mint(credentials, this.#node, principal);
      const upstream = await connect(this.#node, { headers: own?.headers ?? {}, signal });
      if (this.#connection === connection) this.#keep(upstream, (own?.expiresAt ?? Number.POSITIVE_INFINITY) - clock.now());
      return upstream;
    };
    const connection = Promise.resolve().then(open);
    this.#connection = connection;
    connection.catch(() => {
      if (this.#connection === connection) this.#connection = undefined;
    });
    return connection;
  }

  /** Checks the connection until it is dropped: when a check fails, and when its credentials are over. */
  #keep(upstream: Upstream, leftMs: number): void {
    const { clock } = this.#options;
    const abort = new AbortController();
    const keep = async () => {
      for (let pastMs = 0; !upstream.closed; pastMs += KEEP_ALIVE_MS) {
        await sleep(clock, Math.max(1, Math.min(KEEP_ALIVE_MS, leftMs - pastMs)), abort.signal);
        if (pastMs + KEEP_ALIVE_MS >= leftMs) break;
        const timeout = new AbortController();
        const cancel = clock.setTimeout(
          () => timeout.abort(new TransportFailure('No sign of life', { delivery: 'unknown' })),
          KEEP_ALIVE_TIMEOUT_MS,
        );
        try {
          await abortable(upstream.ping(AbortSignal.any([timeout.signal, abort.signal])), timeout.signal);
        } finally {
          cancel();
        }
      }
      this.#drop();
    };
    this.#stopKeeping = () => abort.abort(new Error('dropped'));
    keep().catch(() => {
      if (!abort.signal.aborted) this.#drop();
    });
  }

  #drop(): void {
    const connection = this.#connection;
    this.#connection = undefined;
    this.#stopKeeping();
    if (connection !== undefined) void this.#leave(connection.then((upstream) => upstream.close()));
  }

  /** What is left over is waited for at the end, however it ends. */
  #leave(work: Promise<unknown>): Promise<void> {
    const left: Promise<void> = work.then(
      () => {},
      () => {},
    );
    this.#closing.add(left);
    return left.finally(() => this.#closing.delete(left));
  }

  async #pause(failures: number, signal: AbortSignal): Promise<void> {
    const { clock, random } = this.#options;
    const delayMs = Math.min(MAX_RETRY_MS, FIRST_RETRY_MS * 2 ** (failures - 1)) * (0.5 + random() / 2);
    await sleep(clock, delayMs, signal).catch(() => {});
  }
}

function missed(uri: string | undefined): readonly ServiceEvent[] {
  return uri === undefined ? ALL_LISTS : [{ kind: 'resource_updated', uri }];
}
