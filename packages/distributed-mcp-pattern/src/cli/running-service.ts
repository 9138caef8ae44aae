import { type Clock, type JsonObject, type RpcResult, type ServiceEvent, type StateStore, sleep } from '@mcp-blocks/core';
import type { ChangeWatch, WatchOptions } from '../changes/change-feeds.js';
import type { DistributedMCPConfig } from '../config.js';
import type { DiscoveryConfig } from '../discovery/config.js';
import { DistributedMCPCluster } from '../distributed-mcp-cluster.js';
import type { GatewaySource } from '../gateway/federated-lists.js';
import type { RouteOptions } from '../router.js';
import { sdkConnector } from '../upstream/sdk-connector.js';
import { stdioService } from '../upstream/stdio-service.js';
import type { ServiceEntry } from './config/schema.js';
import { at } from './configuration-path.js';
import { InUse } from './in-use.js';
import { errorText, type Log } from './log.js';
import { upstreamCredentials } from './upstream-credentials.js';

const FIRST_PAUSE_MS = 500;
const MAX_PAUSE_MS = 30_000;

/** What a {@link RunningService} works with. */
export interface RunningServiceParts {
  readonly log: Log;
  readonly clock: Clock;
  /** What its cluster shares with those of other processes. */
  readonly state: StateStore | undefined;
}

/** One service of the file, with its cluster: it starts however often that takes, and is closed when its last call has ended. */
export class RunningService implements GatewaySource {
  readonly #name: string;
  readonly #cluster: InUse<DistributedMCPCluster>;
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #ended = new AbortController();
  #started: Promise<void> | undefined;

  /** @throws ConfigurationError naming the option of the file. */
  constructor(name: string, entry: ServiceEntry, { log, clock, state }: RunningServiceParts) {
    this.#name = name;
    this.#log = log;
    this.#clock = clock;
    const cluster = clusterOf(name, entry, clock, state);
    this.#cluster = new InUse(cluster, () => cluster.close());
    this.#follow(cluster);
  }

  /** Resolves when it takes calls, or after `withinMs`; it goes on trying then. */
  async start(withinMs: number): Promise<void> {
    this.#started ??= this.#keepStarting();
    const tooLong = new AbortController();
    await Promise.race([this.#started, sleep(this.#clock, withinMs, tooLong.signal).catch(() => {})]);
    tooLong.abort();
  }

  route(method: string, params: JsonObject, options: RouteOptions): Promise<RpcResult> {
    return this.#cluster.run((cluster) => cluster.route(method, params, options));
  }

  watch(options: WatchOptions, listener: (event: ServiceEvent) => void): ChangeWatch {
    return this.#cluster.value.watch(options, listener);
  }

  /** Ends when its last call has. */
  async retire(): Promise<void> {
    this.#ended.abort();
    await this.#cluster.retire();
  }

  close(): Promise<void> {
    this.#ended.abort();
    return this.#cluster.close();
  }

  /** Tells what happens to the cluster, as long as it is of use. */
  #follow(cluster: DistributedMCPCluster): void {
    const service = this.#name;
    const tell = (message: string, about: JsonObject, fields: JsonObject = {}) => {
      if (!this.#ended.signal.aborted) this.#log.repeated(message, { service, ...about }, fields);
    };
    cluster.on('error', (error) => tell('the registry of a service has a problem', {}, { error: errorText(error) }));
    cluster.on('healthChange', ({ nodeId, from, to, error }) => {
      tell('a node has changed its health', { node: nodeId, to }, { from, ...(error === undefined ? {} : { error }) });
    });
    cluster.on('circuitChange', ({ nodeId, from, to }) => tell('a circuit has changed', { node: nodeId, to }, { from }));
    cluster.on('ejectionChange', ({ nodeId, ejected }) => tell('a node is ejected, or back', { node: nodeId, ejected }));
    cluster.on('panicChange', ({ panic }) => tell('too few nodes are sound and health is disregarded, or no more', { panic }));
  }

  async #keepStarting(): Promise<void> {
    const { signal } = this.#ended;
    for (let pauseMs = FIRST_PAUSE_MS; !signal.aborted; pauseMs = Math.min(MAX_PAUSE_MS, pauseMs * 2)) {
      try {
        await this.#cluster.value.start();
        return;
      } catch (error) {
        this.#log.repeated('a service cannot be started yet', { service: this.#name }, { error: errorText(error) });
        await sleep(this.#clock, pauseMs, signal).catch(() => {});
      }
    }
  }
}

function clusterOf(name: string, entry: ServiceEntry, clock: Clock, state: StateStore | undefined): DistributedMCPCluster {
  const path = `services.${name}`;
  const { urls, stdio, discoveryMethod = 'static', discoveryConfig, credentials, connection, ...rest } = entry;
  if (stdio !== undefined) return at(`${path}.stdio`, () => stdioService({ name, clock, ...stdio }));
  const config = {
    // What is not in a file is not here either, and is no `undefined`.
    ...(rest as Omit<DistributedMCPConfig, 'clusterName' | 'discoveryMethod' | 'discoveryConfig'>),
    clusterName: name,
    discoveryMethod,
    discoveryConfig: { serviceName: name, ...discoveryConfig, ...(urls === undefined ? {} : { endpoints: urls }) } as DiscoveryConfig,
    ...(state === undefined ? {} : { stateManagementConfig: { store: state } }),
    clock,
  };
  return at(path, () => {
    return new DistributedMCPCluster({
      ...config,
      ...(credentials === undefined ? {} : { credentials: upstreamCredentials('credentials', credentials, clock) }),
      ...(connection === undefined ? {} : { connect: at('connection', () => sdkConnector(connection)) }),
    });
  });
}
