import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePorts, type RestartableServer, startRestartable } from '@mcp-blocks/services';
import type { GatewayBug, Pace } from './cluster-orders.ts';
import { ClusterNodeProcess, GatewayProcess, until } from './cluster-processes.ts';

const NODES = 5;

/** Which gateways a world has. */
export interface GatewayOptions {
  /** Default: 2. */
  readonly count?: number;
  /** Default: true. */
  readonly breakers?: boolean;
  readonly bug?: GatewayBug;
}

/** Five nodes, each behind its fault proxy, gateways, etcd and Redis: everything but the callers. */
export class World {
  readonly etcd: RestartableServer;
  readonly redis: RestartableServer;
  readonly nodes: readonly ClusterNodeProcess[];
  readonly pace: Pace;
  gateways: readonly GatewayProcess[] = [];
  /** Whether the gateways have no bug, and breakers. */
  isPlain = false;
  readonly #folder: string;

  private constructor(etcd: RestartableServer, redis: RestartableServer, folder: string, ports: readonly number[], pace: Pace) {
    this.etcd = etcd;
    this.redis = redis;
    this.pace = pace;
    this.#folder = folder;
    writeFileSync(this.#ledger, '');
    this.nodes = Array.from({ length: NODES }, (_, index) => {
      const order = { id: `node-${index + 1}`, port: ports[2 * index] as number, etcdUrl: etcd.url, redisUrl: redis.url, pace };
      return new ClusterNodeProcess({ ...order, ledger: this.#ledger }, ports[2 * index + 1] as number);
    });
  }

  /** Without gateways. */
  static async start(pace: Pace): Promise<World> {
    // What Redis has answered, it has written: the keys of calls outlive it.
    const redis = await startRestartable('redis', ['--appendonly', 'yes', '--appendfsync', 'always']);
    const etcd = await startRestartable('etcd');
    const world = new World(etcd, redis, mkdtempSync(join(tmpdir(), 'mcp-blocks-cluster-')), await freePorts(2 * NODES), pace);
    try {
      await Promise.all(world.nodes.map((node) => node.start()));
      return world;
    } catch (error) {
      await world.stop();
      throw error;
    }
  }

  /** Starts gateways in the place of those there are; resolves when they use every node. */
  async open({ count = 2, breakers = true, bug }: GatewayOptions = {}): Promise<void> {
    await Promise.all(this.gateways.map((gateway) => gateway.end()));
    const order = { etcdUrl: this.etcd.url, redisUrl: this.redis.url, breakers, pace: this.pace, ...(bug === undefined ? {} : { bug }) };
    this.isPlain = breakers && bug === undefined;
    this.gateways = Array.from({ length: count }, () => new GatewayProcess(order));
    await Promise.all(this.gateways.map((gateway) => gateway.started()));
    await this.recovered();
  }

  /** What was done: every token as often as it had its effect. */
  get effects(): ReadonlyMap<string, number> {
    const effects = new Map<string, number>();
    for (const line of readFileSync(this.#ledger, 'utf8').split('\n')) {
      const token = line.slice(0, line.indexOf(' '));
      if (line !== '') effects.set(token, (effects.get(token) ?? 0) + 1);
    }
    return effects;
  }

  get violations(): readonly string[] {
    return this.gateways.flatMap(({ violations }) => violations);
  }

  /** Every gateway uses the node, or all nodes. */
  async recovered(id?: string): Promise<void> {
    for (const node of id === undefined ? this.nodes.map((node) => node.id) : [id]) {
      await until(`all gateways use ${node}`, () => this.gateways.every((gateway) => gateway.node(node)?.available === true));
    }
  }

  async stop(): Promise<void> {
    await Promise.all([...this.nodes.map((node) => node.kill()), ...this.gateways.map((gateway) => gateway.end())]);
    await Promise.all([this.etcd.stop(), this.redis.stop()]);
    rmSync(this.#folder, { recursive: true, force: true });
  }

  get #ledger(): string {
    return join(this.#folder, 'ledger');
  }
}
