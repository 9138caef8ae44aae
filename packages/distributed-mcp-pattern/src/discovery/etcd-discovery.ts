import { type Clock, ConfigurationError, type Random, type ServiceNode, type ServiceRegistry, sleep, systemClock } from '@mcp-blocks/core';
import { serviceNodeSchema } from '../config.js';
import { type EtcdChange, EtcdClient, type EtcdClientOptions, type EtcdEntry } from './etcd-client.js';
import { EtcdRegistration } from './etcd-registration.js';

/** Options of {@link EtcdDiscovery}. */
export interface EtcdDiscoveryOptions extends EtcdClientOptions {
  /** Keys are `<keyPrefix>/<service>/<id>`. Default: `/mcp-blocks/services`. */
  readonly keyPrefix?: string;
  /**
   * How long the entry of a node outlives its process, in milliseconds; rounded up to seconds, 1,000 or
   * more. Default: 10,000.
   */
  readonly leaseTtlMs?: number;
  readonly clock?: Clock;
  /** Random numbers in [0, 1), for the pauses between attempts. Default: `Math.random`. */
  readonly random?: Random;
}

/** A quiet watch is opened anew before proxies and fetch give it up, which they do after five minutes. */
const WATCH_RENEWAL_MS = 240_000;
const MAX_PAUSE_MS = 5_000;

/**
 * Nodes in etcd v3. An entry's key is `/mcp-blocks/services/<service>/<id>` with both parts
 * percent-encoded; its value is the `ServiceNode` as JSON; it lives on a lease of the node's process.
 *
 * A watch that loses etcd keeps the last list, reports through `onError`, tries the members again with
 * growing pauses and goes on from the revision it has seen; if etcd has compacted that away, it lists
 * again. An entry that is not a `ServiceNode` is reported and left out.
 */
export class EtcdDiscovery implements ServiceRegistry {
  readonly #client: EtcdClient;
  readonly #keyPrefix: string;
  readonly #leaseTtlMs: number;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #watches = new Set<() => Promise<void>>();
  readonly #registrations = new Set<() => Promise<void>>();

  /** @throws ConfigurationError for endpoints that are no URLs and values out of range. */
  constructor(options: EtcdDiscoveryOptions) {
    this.#client = new EtcdClient(options);
    this.#keyPrefix = options.keyPrefix ?? '/mcp-blocks/services';
    this.#leaseTtlMs = options.leaseTtlMs ?? 10_000;
    if (!(this.#leaseTtlMs >= 1_000)) throw new ConfigurationError('leaseTtlMs', `expected 1000 or more, got ${this.#leaseTtlMs}`);
    this.#clock = options.clock ?? systemClock;
    this.#random = options.random ?? Math.random;
  }

  async nodes(service: string): Promise<readonly ServiceNode[]> {
    const { entries } = await this.#client.list(this.#prefix(service));
    return entries.map((entry) => parseNode(entry)).filter((node): node is ServiceNode => !(node instanceof Error));
  }

  async watch(
    service: string,
    onChange: (nodes: readonly ServiceNode[]) => void,
    onError: (error: Error) => void = () => {},
  ): Promise<() => Promise<void>> {
    const abort = new AbortController();
    const view = new ServiceView(onChange, onError);
    const { revision, entries } = await this.#client.list(this.#prefix(service));
    view.replace(entries);
    const following = this.#follow(this.#prefix(service), view, revision, abort.signal, onError);
    const stop = async () => {
      this.#watches.delete(stop);
      view.mute();
      abort.abort();
      await following;
    };
    this.#watches.add(stop);
    return stop;
  }

  async register(service: string, node: ServiceNode): Promise<() => Promise<void>> {
    const { data, error } = serviceNodeSchema.safeParse(node);
    if (error)
      throw new ConfigurationError(`node.${error.issues[0]?.path.join('.') ?? ''}`, error.issues[0]?.message ?? 'expected a ServiceNode');
    const registration = new EtcdRegistration({
      client: this.#client,
      key: this.#prefix(service) + encodeURIComponent(data.id),
      value: JSON.stringify(data),
      leaseTtlMs: this.#leaseTtlMs,
      clock: this.#clock,
    });
    await registration.enter();
    const leave = async () => {
      if (!this.#registrations.delete(leave)) return;
      await registration.leave();
    };
    this.#registrations.add(leave);
    return leave;
  }

  /** Ends every watch and takes the nodes registered here out. */
  async close(): Promise<void> {
    await Promise.all([...this.#watches, ...this.#registrations].map((end) => end()));
  }

  async #follow(prefix: string, view: ServiceView, listedAt: bigint, signal: AbortSignal, onError: (error: Error) => void): Promise<void> {
    const position: Position = { revision: listedAt, failures: 0 };
    while (!signal.aborted) {
      try {
        if (position.revision === undefined) {
          const { revision, entries } = await this.#client.list(prefix, signal);
          view.replace(entries);
          position.revision = revision;
        }
        await this.#followOnce(prefix, view, position, position.revision + 1n, signal);
      } catch (error) {
        if (signal.aborted) return;
        onError(error instanceof Error ? error : new Error(String(error)));
        position.failures += 1;
        const pauseMs = 20 + this.#random() * Math.min(MAX_PAUSE_MS, 100 * 2 ** position.failures);
        await sleep(this.#clock, pauseMs, signal).catch(() => {});
      }
    }
  }

  /** One connection's worth of changes. Resolves when the next connection should follow at once. */
  async #followOnce(prefix: string, view: ServiceView, position: Position, from: bigint, signal: AbortSignal): Promise<void> {
    const renewal = new AbortController();
    const cancelRenewal = this.#clock.setTimeout(() => renewal.abort(), WATCH_RENEWAL_MS);
    try {
      for await (const message of this.#client.watch(prefix, from, AbortSignal.any([signal, renewal.signal]))) {
        position.failures = 0;
        if (message.kind === 'compacted') {
          position.revision = undefined;
          return;
        }
        if (message.kind !== 'changes') continue;
        view.change(message.changes);
        position.revision = message.revision;
      }
    } catch (error) {
      if (renewal.signal.aborted) return;
      throw error;
    } finally {
      cancelRenewal();
    }
    throw new Error('etcd closed the watch');
  }

  #prefix(service: string): string {
    return `${this.#keyPrefix}/${encodeURIComponent(service)}/`;
  }
}

/** How far a watcher has come. */
interface Position {
  /** The last revision seen; `undefined` when the entries must be listed again. */
  revision: bigint | undefined;
  /** Connections that failed in a row. */
  failures: number;
}

/** The entries of one service as a watcher sees them. */
class ServiceView {
  readonly #onChange: (nodes: readonly ServiceNode[]) => void;
  readonly #onError: (error: Error) => void;
  #nodes = new Map<string, ServiceNode>();
  #muted = false;

  constructor(onChange: (nodes: readonly ServiceNode[]) => void, onError: (error: Error) => void) {
    this.#onChange = onChange;
    this.#onError = onError;
  }

  replace(entries: readonly EtcdEntry[]): void {
    this.#nodes = new Map();
    this.change(entries);
  }

  change(changes: readonly EtcdChange[]): void {
    for (const { key, value } of changes) {
      const node = value === undefined ? undefined : parseNode({ key, value });
      if (node instanceof Error && !this.#muted) this.#onError(node);
      if (node === undefined || node instanceof Error) this.#nodes.delete(key);
      else this.#nodes.set(key, node);
    }
    if (!this.#muted) this.#onChange([...this.#nodes.values()]);
  }

  mute(): void {
    this.#muted = true;
  }
}

function parseNode({ key, value }: EtcdEntry): ServiceNode | Error {
  let content: unknown;
  try {
    content = JSON.parse(value);
  } catch {
    return new Error(`The registry entry '${key}' is not JSON`);
  }
  const { data, error } = serviceNodeSchema.safeParse(content);
  if (error) return new Error(`The registry entry '${key}' is not a node: ${error.issues[0]?.path.join('.')}: ${error.issues[0]?.message}`);
  if (encodeURIComponent(data.id) !== key.slice(key.lastIndexOf('/') + 1)) {
    return new Error(`The registry entry '${key}' names another node: '${data.id}'`);
  }
  return data;
}
