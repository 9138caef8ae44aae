import { describe, expect, it } from 'vitest';
import { type ServiceNode, StaticDiscovery } from '../src/index.js';
import { discoveryContract } from '../src/testing/index.js';

function harness(discovery: StaticDiscovery) {
  return {
    discovery,
    patienceMs: 50,
    setNodes: async (service: string, nodes: readonly ServiceNode[]) => discovery.update(service, nodes),
  };
}

describe('StaticDiscovery keeps the contract', () => {
  for (const { name, run } of discoveryContract) it(name, () => run(harness(new StaticDiscovery({}))));
});

type OnChange = (nodes: readonly ServiceNode[]) => void;

class SilentAtFirst extends StaticDiscovery {
  override watch(service: string, onChange: OnChange) {
    let first = true;
    return super.watch(service, (nodes) => (first ? (first = false) : onChange(nodes)));
  }
}

class TellsChangesOnly extends StaticDiscovery {
  override watch(service: string, onChange: OnChange) {
    let known: readonly ServiceNode[] = [];
    return super.watch(service, (nodes) => {
      const added = nodes.filter((node) => !known.includes(node));
      known = nodes;
      onChange(added);
    });
  }
}

class NeverStops extends StaticDiscovery {
  override async watch(service: string, onChange: OnChange) {
    await super.watch(service, onChange);
    return async () => {};
  }
}

class MatchesByPrefix extends StaticDiscovery {
  readonly #lists = new Map<string, readonly ServiceNode[]>();
  override update(service: string, nodes: readonly ServiceNode[]): void {
    this.#lists.set(service, nodes);
    super.update(service, nodes);
  }
  override async nodes(service: string) {
    return [...this.#lists].filter(([name]) => name.startsWith(service)).flatMap(([, nodes]) => nodes);
  }
}

class ForgetsFields extends StaticDiscovery {
  override async nodes(service: string) {
    return (await super.nodes(service)).map(({ id, url }) => ({ id, url }));
  }
}

class OneWatchPerFunction extends StaticDiscovery {
  readonly #stops = new Map<OnChange, () => Promise<void>>();
  override async watch(service: string, onChange: OnChange) {
    const stop = this.#stops.get(onChange) ?? (await super.watch(service, onChange));
    this.#stops.set(onChange, stop);
    return stop;
  }
}

describe('a broken driver fails the case it breaks', () => {
  it.each([
    [SilentAtFirst, 'a watcher is told the current list at once'],
    [TellsChangesOnly, 'a watcher is told the complete list after a node enters, changes and leaves'],
    [NeverStops, 'a stopped watcher is told nothing more, and others still are'],
    [MatchesByPrefix, 'services do not see each other, also when one name begins with the other'],
    [ForgetsFields, 'nodes are answered with every field they were entered with'],
    [OneWatchPerFunction, 'one function may watch twice, and stops once for each'],
  ])('%o: %s', async (Broken, caseName) => {
    const broken = discoveryContract.find(({ name }) => name === caseName);
    await expect(broken!.run(harness(new Broken({})))).rejects.toThrow();
  });
});
