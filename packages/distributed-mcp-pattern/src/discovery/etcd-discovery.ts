import { type Clock, type Random, type ServiceNode, type ServiceRegistry, systemClock } from '@mcp-blocks/core';
import { z } from 'zod';
import { machineOptions, parseOptions } from '../option-schemas.js';
import { type EtcdChange, EtcdClient, type EtcdClientOptions, type EtcdEntry, type EtcdWatchMessage } from './etcd-client.js';
import { EtcdRegistration } from './etcd-registration.js';
import { Registrations } from './registrations.js';
import { registryHttpOptions } from './registry-http.js';
import { serviceNodeSchema } from './service-node-schema.js';
import { type ServiceFollower, ServiceWatches } from './service-watches.js';

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

const optionsSchema = z.strictObject({
  ...registryHttpOptions,
  ...machineOptions,
  user: z.strictObject({ name: z.string().min(1, 'expected a non-empty string'), password: z.string() }).optional(),
  keyPrefix: z.string().default('/mcp-blocks/services'),
  leaseTtlMs: z.number().min(1_000, 'expected 1000 or more').max(86_400_000).default(10_000),
});

/** A quiet watch is opened anew before proxies and fetch give it up, which they do after five minutes. */
const WATCH_RENEWAL_MS = 240_000;

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
  readonly #watches: ServiceWatches;
  readonly #registrations = new Registrations();

  /** @throws ConfigurationError for endpoints that are no URLs and values out of range. */
  constructor(options: EtcdDiscoveryOptions) {
    const { keyPrefix, leaseTtlMs } = parseOptions(optionsSchema, options);
    this.#client = new EtcdClient(options);
    this.#keyPrefix = keyPrefix;
    this.#leaseTtlMs = leaseTtlMs;
    this.#clock = options.clock ?? systemClock;
    this.#watches = new ServiceWatches(this.#clock, options.random ?? Math.random);
  }

  async nodes(service: string): Promise<readonly ServiceNode[]> {
    const { entries } = await this.#client.list(this.#prefix(service));
    return entries.map((entry) => parseNode(entry)).filter((node): node is ServiceNode => !(node instanceof Error));
  }

  watch(
    service: string,
    onChange: (nodes: readonly ServiceNode[]) => void,
    onError: (error: Error) => void = () => {},
  ): Promise<() => Promise<void>> {
    const follower = new EtcdFollower(this.#client, this.#prefix(service), this.#clock, onError);
    return this.#watches.start(follower, onChange, onError);
  }

  async register(service: string, node: ServiceNode): Promise<() => Promise<void>> {
    return await this.#registrations.enter(
      node,
      (checked) =>
        new EtcdRegistration({
          client: this.#client,
          key: this.#prefix(service) + encodeURIComponent(checked.id),
          value: JSON.stringify(checked),
          leaseTtlMs: this.#leaseTtlMs,
          clock: this.#clock,
        }),
    );
  }

  /** Ends every watch and takes the nodes registered here out. */
  async close(): Promise<void> {
    await Promise.all([this.#watches.close(), this.#registrations.close()]);
    this.#client.close();
  }

  #prefix(service: string): string {
    return `${this.#keyPrefix}/${encodeURIComponent(service)}/`;
  }
}

/** The entries of one service: listed once, then kept by a watch from the revision of the list on. */
class EtcdFollower implements ServiceFollower {
  readonly #client: EtcdClient;
  readonly #prefix: string;
  readonly #clock: Clock;
  readonly #onError: (error: Error) => void;
  readonly #nodes = new Map<string, ServiceNode>();
  #list: readonly ServiceNode[] = [];
  /** The last revision seen; `undefined` when the entries must be listed again. */
  #revision: bigint | undefined;
  #changes: Watch | undefined;

  constructor(client: EtcdClient, prefix: string, clock: Clock, onError: (error: Error) => void) {
    this.#client = client;
    this.#prefix = prefix;
    this.#clock = clock;
    this.#onError = onError;
  }

  async next(signal: AbortSignal): Promise<readonly ServiceNode[]> {
    if (this.#revision === undefined) {
      const { revision, entries } = await this.#client.list(this.#prefix, signal);
      this.#nodes.clear();
      this.#apply(entries);
      this.#revision = revision;
      return this.#list;
    }
    this.#changes ??= this.#watch(this.#revision + 1n, signal);
    const { messages, renewal } = this.#changes;
    try {
      const { done, value: message } = await messages.next();
      if (done) throw new Error('etcd closed the watch');
      if (message.kind === 'changes') {
        this.#apply(message.changes);
        this.#revision = message.revision;
      } else if (message.kind === 'compacted') {
        this.#revision = undefined;
        this.close();
      }
    } catch (error) {
      this.close();
      if (!renewal.aborted) throw error;
    }
    return this.#list;
  }

  close(): void {
    this.#changes?.stop();
    this.#changes = undefined;
  }

  #watch(from: bigint, signal: AbortSignal): Watch {
    const renewal = new AbortController();
    const stop = new AbortController();
    const cancelRenewal = this.#clock.setTimeout(() => renewal.abort(), WATCH_RENEWAL_MS);
    return {
      messages: this.#client.watch(this.#prefix, from, AbortSignal.any([signal, renewal.signal, stop.signal])),
      renewal: renewal.signal,
      stop() {
        cancelRenewal();
        stop.abort();
      },
    };
  }

  #apply(changes: readonly EtcdChange[]): void {
    for (const { key, value } of changes) {
      const node = value === undefined ? undefined : parseNode({ key, value });
      if (node instanceof Error) this.#onError(node);
      if (node === undefined || node instanceof Error) this.#nodes.delete(key);
      else this.#nodes.set(key, node);
    }
    this.#list = [...this.#nodes.values()];
  }
}

/** An open watch. */
interface Watch {
  readonly messages: AsyncGenerator<EtcdWatchMessage>;
  /** Aborted when the watch has been open for long enough. */
  readonly renewal: AbortSignal;
  stop(): void;
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
