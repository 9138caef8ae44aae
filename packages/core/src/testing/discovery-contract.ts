import assert from 'node:assert/strict';
import type { Discovery, ServiceNode, ServiceRegistry } from '../discovery.js';
import type { ContractCase } from './contract.js';

/** What {@link discoveryContract} needs: a driver, and a way to change what its backend holds. */
export interface DiscoveryHarness {
  /** A fresh driver, used by one case only and closed by it. */
  readonly discovery: Discovery;
  /** Makes `nodes` the complete list of a service in the backend. Resolves when the backend has it. */
  setNodes(service: string, nodes: readonly ServiceNode[]): Promise<void>;
  /**
   * What is left of a node in a backend that has no place for all its fields, such as DNS, which the driver
   * then has to document. Default: everything.
   */
  keeps?(node: ServiceNode): ServiceNode;
  /** Longest a watcher may wait to be told of a change, in milliseconds. Default: 5,000. */
  readonly patienceMs?: number;
}

/** What {@link serviceRegistryContract} needs: two drivers over the same backend. */
export interface ServiceRegistryHarness {
  /** Fresh drivers, used by one case only and closed by it. */
  readonly registry: ServiceRegistry;
  readonly observer: Discovery;
  /** As in {@link DiscoveryHarness}. */
  readonly patienceMs?: number;
}

const PATIENCE_MS = 5_000;
const west: ServiceNode = { id: 'west-1', url: 'http://10.0.0.1:8080/mcp' };
const east: ServiceNode = {
  id: 'east/1 ü',
  url: 'wss://10.0.0.2:8443/ws',
  weight: 2.5,
  region: 'eu-east',
  version: '1.2.0',
  metadata: { zone: 'b', owner: 'team "x"' },
};

/** What every {@link Discovery} promises. */
export const discoveryContract: readonly ContractCase<DiscoveryHarness>[] = [
  contractCase('a service nobody entered has no nodes', async ({ discovery }) => {
    assert.deepEqual([...(await discovery.nodes('unknown'))], []);
  }),
  contractCase('nodes are answered with every field they were entered with', async ({ discovery, setNodes, keeps, patienceMs }) => {
    await setNodes('orders', [west, east]);
    await eventually(patienceMs, async () => assert.deepEqual(byId(await discovery.nodes('orders')), byId([west, east].map(keeps))));
  }),
  contractCase('a watcher is told the current list at once', async ({ discovery, setNodes, keeps, patienceMs }) => {
    await setNodes('orders', [west]);
    const lists = new Lists(patienceMs);
    const stop = await discovery.watch('orders', lists.onChange);
    await lists.until([west].map(keeps));
    await stop();
  }),
  contractCase('a watcher of a service without nodes is told the empty list', async ({ discovery, patienceMs }) => {
    const lists = new Lists(patienceMs);
    const stop = await discovery.watch('orders', lists.onChange);
    await lists.until([]);
    await stop();
  }),
  contractCase(
    'a watcher is told the complete list after a node enters, changes and leaves',
    async ({ discovery, setNodes, keeps, patienceMs }) => {
      const lists = new Lists(patienceMs);
      const stop = await discovery.watch('orders', lists.onChange);
      await setNodes('orders', [west]);
      await lists.until([west].map(keeps));
      await setNodes('orders', [west, east]);
      await lists.until([west, east].map(keeps));
      const moved = { ...west, url: 'http://10.0.0.9:8080/mcp' };
      await setNodes('orders', [moved, east]);
      await lists.until([moved, east].map(keeps));
      await setNodes('orders', [moved]);
      await lists.until([moved].map(keeps));
      await setNodes('orders', []);
      await lists.until([]);
      await stop();
    },
  ),
  contractCase(
    'services do not see each other, also when one name begins with the other',
    async ({ discovery, setNodes, keeps, patienceMs }) => {
      const lists = new Lists(patienceMs);
      await setNodes('order', [west]);
      const stop = await discovery.watch('order', lists.onChange);
      await lists.until([west].map(keeps));
      await setNodes('orders', [east]);
      await eventually(patienceMs, async () => assert.deepEqual(byId(await discovery.nodes('orders')), [east].map(keeps)));
      assert.deepEqual(byId(await discovery.nodes('order')), [west].map(keeps));
      await setNodes('order', [{ ...west, weight: 3 }]);
      await lists.until([{ ...west, weight: 3 }].map(keeps));
      assert.ok(
        lists.all.every((list) => list.every(({ id }) => id === keeps(west).id)),
        'a watcher was told nodes of another service',
      );
      await stop();
    },
  ),
  contractCase('a stopped watcher is told nothing more, and others still are', async ({ discovery, setNodes, keeps, patienceMs }) => {
    const stopped = new Lists(patienceMs);
    const going = new Lists(patienceMs);
    const stop = await discovery.watch('orders', stopped.onChange);
    const stopOther = await discovery.watch('orders', going.onChange);
    await stopped.until([]);
    await stop();
    await stop();
    const told = stopped.all.length;
    await setNodes('orders', [west]);
    await going.until([west].map(keeps));
    assert.equal(stopped.all.length, told);
    await stopOther();
  }),
  contractCase('one function may watch twice, and stops once for each', async ({ discovery, setNodes, keeps, patienceMs }) => {
    const lists = new Lists(patienceMs);
    const stopFirst = await discovery.watch('orders', lists.onChange);
    const stopSecond = await discovery.watch('orders', lists.onChange);
    await stopFirst();
    await setNodes('orders', [west]);
    await lists.until([west].map(keeps));
    await stopSecond();
  }),
  contractCase('close ends every watch and may be called twice', async ({ discovery, setNodes, patienceMs }) => {
    const lists = new Lists(patienceMs);
    await discovery.watch('orders', lists.onChange);
    await lists.until([]);
    await discovery.close();
    await discovery.close();
    const told = lists.all.length;
    await setNodes('orders', [west]);
    assert.equal(lists.all.length, told);
  }),
];

/** What every {@link ServiceRegistry} promises beyond {@link discoveryContract}. */
export const serviceRegistryContract: readonly ContractCase<ServiceRegistryHarness>[] = [
  registryCase('a registered node is seen by others, with every field', async ({ registry, observer, patienceMs }) => {
    const lists = new Lists(patienceMs);
    await observer.watch('orders', lists.onChange);
    await registry.register('orders', east);
    await lists.until([east]);
  }),
  registryCase('a node that leaves is gone for others; leaving twice is harmless', async ({ registry, observer, patienceMs }) => {
    const lists = new Lists(patienceMs);
    await observer.watch('orders', lists.onChange);
    const leave = await registry.register('orders', west);
    const leaveOther = await registry.register('orders', east);
    await lists.until([west, east]);
    await leave();
    await leave();
    await lists.until([east]);
    await leaveOther();
    await lists.until([]);
  }),
  registryCase(
    'registering an id again replaces its entry, and the replaced one cannot take it away',
    async ({ registry, observer, patienceMs }) => {
      const lists = new Lists(patienceMs);
      await observer.watch('orders', lists.onChange);
      const leaveOld = await registry.register('orders', west);
      await lists.until([west]);
      const moved = { ...west, url: 'http://10.0.0.9:8080/mcp' };
      await registry.register('orders', moved);
      await lists.until([moved]);
      await leaveOld();
      assert.deepEqual(byId(await observer.nodes('orders')), [moved]);
    },
  ),
  registryCase('closing the registry takes its nodes out', async ({ registry, observer, patienceMs }) => {
    const lists = new Lists(patienceMs);
    await observer.watch('orders', lists.onChange);
    await registry.register('orders', west);
    await lists.until([west]);
    await registry.close();
    await lists.until([]);
  }),
];

function contractCase(
  name: string,
  run: (harness: Required<Omit<DiscoveryHarness, 'patienceMs'>> & DiscoveryHarness) => Promise<void>,
): ContractCase<DiscoveryHarness> {
  return { name, run: (harness) => run({ keeps: (node) => node, ...harness }).finally(() => harness.discovery.close()) };
}

function registryCase(name: string, run: (harness: ServiceRegistryHarness) => Promise<void>): ContractCase<ServiceRegistryHarness> {
  return {
    name,
    run: (harness) =>
      run(harness).finally(async () => {
        await harness.registry.close();
        await harness.observer.close();
      }),
  };
}

function byId(nodes: readonly ServiceNode[]): ServiceNode[] {
  return [...nodes].sort((a, b) => (a.id < b.id ? -1 : 1));
}

/** Collects what a watcher is told. */
class Lists {
  readonly all: (readonly ServiceNode[])[] = [];
  readonly #patienceMs: number;
  #wake: () => void = () => {};

  constructor(patienceMs = PATIENCE_MS) {
    this.#patienceMs = patienceMs;
  }

  readonly onChange = (nodes: readonly ServiceNode[]): void => {
    this.all.push(nodes);
    this.#wake();
  };

  /** Resolves once the newest list equals `expected`. */
  async until(expected: readonly ServiceNode[]): Promise<void> {
    const deadline = Date.now() + this.#patienceMs;
    for (;;) {
      const newest = this.all.at(-1);
      if (newest !== undefined && JSON.stringify(byId(newest).map(sorted)) === JSON.stringify(byId(expected).map(sorted))) return;
      const left = deadline - Date.now();
      if (left <= 0) assert.deepEqual(newest && byId(newest), byId(expected), `not told within ${this.#patienceMs} ms`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }
}

function sorted(node: ServiceNode): unknown {
  return Object.entries(node).sort(([a], [b]) => (a < b ? -1 : 1));
}

/** For drivers that learn of changes a moment later. */
async function eventually(patienceMs: number | undefined, check: () => Promise<void>): Promise<void> {
  const deadline = Date.now() + (patienceMs ?? PATIENCE_MS);
  for (;;) {
    try {
      return await check();
    } catch (error) {
      if (Date.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
}
