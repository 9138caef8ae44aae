import type { Random } from '@mcp-blocks/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ReducedShareBalancer } from '../src/balancing/reduced-share.js';
import { createBalancer } from '../src/balancing/strategy.js';
import {
  type Balancer,
  BoundedStickyBalancer,
  type Candidate,
  LeastConnectionsBalancer,
  LeastRequestBalancer,
  LocalityBalancer,
  PeakEwmaBalancer,
  type Picker,
  type PickInfo,
  RoundRobinBalancer,
  RoutingRulesBalancer,
  WeightedBalancer,
} from '../src/index.js';

type Node = { -readonly [Key in keyof Candidate]: Candidate[Key] };

/** A linear congruential generator: the same numbers in every run. */
function sequence(seed = 1): Random {
  return () => (seed = (seed * 1_664_525 + 1_013_904_223) % 2 ** 32) / 2 ** 32;
}
const nodesOf = (count: number, more: (index: number) => Partial<Node> = () => ({})): Node[] =>
  Array.from({ length: count }, (_, index) => ({ id: `n${index}`, inFlight: 0, ...more(index) }));
const pick = (picker: Picker<Node>, info: PickInfo = {}) => {
  const result = picker.pick(info);
  return result.kind === 'complete' ? result.node.id : 'none';
};
function sharesOf(picker: Picker<Node>, picks: number, info: (turn: number) => PickInfo = () => ({})): Record<string, number> {
  const shares: Record<string, number> = {};
  for (let turn = 0; turn < picks; turn += 1) {
    const id = pick(picker, info(turn));
    shares[id] = (shares[id] ?? 0) + 1;
  }
  return shares;
}
const sessionNumber = (turn: number) => ({ sessionId: `session-${turn}` });

describe('weighted', () => {
  it('interleaves as evenly as the weights allow', () => {
    const picker = new WeightedBalancer(() => 0).picker(nodesOf(3, (index) => ({ weight: [5, 1, 1][index] })));
    expect(Array.from({ length: 14 }, () => pick(picker)).join(' ')).toBe('n0 n0 n1 n0 n2 n0 n0 n0 n0 n1 n0 n2 n0 n0');
  });

  it('gives each node exactly its weight of any run as long as the weights, and is never a whole pick ahead', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1, maxLength: 8 }), fc.nat(100), (weights, seed) => {
        const make = (random: Random) =>
          new WeightedBalancer(random).picker(nodesOf(weights.length, (index) => ({ weight: weights[index] })));
        const total = weights.reduce((sum, weight) => sum + weight, 0);
        for (const [picker, fromItsStart] of [
          [make(sequence(seed)), false],
          [make(() => 0), true],
        ] as const) {
          if (!fromItsStart) sharesOf(picker, seed);
          const counts = weights.map(() => 0);
          for (let turn = 1; turn <= 2 * total; turn += 1) {
            counts[Number(pick(picker).slice(1))]! += 1;
            if (turn % total === 0) expect(counts).toEqual(weights.map((weight) => (weight * turn) / total));
            if (fromItsStart)
              for (const [index, count] of counts.entries()) expect(count - (weights[index]! * turn) / total).toBeLessThan(1);
          }
        }
      }),
    );
  });

  it('goes on where it was when nodes come and go', () => {
    const balancer = new WeightedBalancer(() => 0);
    const nodes = nodesOf(3);
    const shares: Record<string, number> = {};
    for (let turn = 0; turn < 300; turn += 1) {
      // A new picker for every pick must not favour whoever comes first.
      const id = pick(balancer.picker(nodes));
      shares[id] = (shares[id] ?? 0) + 1;
    }
    expect(shares).toEqual({ n0: 100, n1: 100, n2: 100 });
  });

  it('takes weights of any size without drifting', () => {
    const weights = [0.1, 0.2, 0.7];
    const picker = new WeightedBalancer(() => 0).picker(nodesOf(3, (index) => ({ weight: weights[index] })));
    const shares = sharesOf(picker, 100_000);
    for (const [index, weight] of weights.entries()) expect(Math.abs(shares[`n${index}`]! - weight * 100_000)).toBeLessThanOrEqual(1);
  });
});

describe('least-connections with weights', () => {
  it.each<[number[], number[], string, number?]>([
    [[1, 3], [0, 0], 'n1'],
    [[1, 3], [0, 2], 'n0', 0.6],
    [[1, 3], [0, 3], 'n0'],
    [[2, 1], [3, 1], 'n0', 0.6],
    [[2, 1], [4, 1], 'n1'],
  ])('weights %j with %j in progress: %s', (weights, inFlight, expected, random = 0) => {
    const picker = new LeastConnectionsBalancer(() => random).picker(
      nodesOf(2, (index) => ({ weight: weights[index], inFlight: inFlight[index] as number })),
    );
    expect(pick(picker)).toBe(expected);
  });

  it('fills nodes in proportion to their weights', () => {
    const nodes = nodesOf(3, (index) => ({ weight: [1, 2, 5][index] }));
    const picker = new LeastConnectionsBalancer(sequence()).picker(nodes);
    for (let request = 0; request < 800; request += 1) {
      const picked = pick(picker);
      nodes.find(({ id }) => id === picked)!.inFlight += 1;
    }
    expect(nodes.map(({ inFlight }) => inFlight)).toEqual([100, 200, 500]);
  });
});

describe('p2c', () => {
  it('of two nodes takes the one with more room, whichever is drawn first', () => {
    fc.assert(
      fc.property(
        fc.nat(50),
        fc.nat(50),
        fc.integer({ min: 1, max: 9 }),
        fc.integer({ min: 1, max: 9 }),
        fc.nat(1000),
        (a, b, v, w, seed) => {
          fc.pre(v / (a + 1) !== w / (b + 1));
          const picker = new LeastRequestBalancer(sequence(seed)).picker([
            { id: 'a', inFlight: a, weight: v },
            { id: 'b', inFlight: b, weight: w },
          ]);
          const better = v / (a + 1) > w / (b + 1) ? 'a' : 'b';
          for (let turn = 0; turn < 5; turn += 1) expect(pick(picker)).toBe(better);
        },
      ),
    );
  });

  it('never takes the worst of three or more, and looks at every pair', () => {
    const nodes = nodesOf(4, (index) => ({ inFlight: index }));
    const shares = sharesOf(new LeastRequestBalancer(sequence()).picker(nodes), 12_000);
    // Of six pairs n0 is the best in three, n1 in two, n2 in one.
    expect(shares['n3']).toBeUndefined();
    for (const [id, expected] of [
      ['n0', 6_000],
      ['n1', 4_000],
      ['n2', 2_000],
    ] as const) {
      expect(Math.abs(shares[id]! - expected)).toBeLessThan(250);
    }
  });

  it('spreads evenly over what is left when most are excluded', () => {
    const exclude = new Set(Array.from({ length: 97 }, (_, index) => `n${index}`));
    const shares = sharesOf(new LeastRequestBalancer(sequence()).picker(nodesOf(100)), 3_000, () => ({ exclude }));
    expect(Object.keys(shares).sort()).toEqual(['n97', 'n98', 'n99']);
    for (const share of Object.values(shares)) expect(Math.abs(share - 1_000)).toBeLessThan(120);
  });
});

describe('peak-ewma', () => {
  it.each([
    ['the faster one', { latencyMs: 10 }, { latencyMs: 30 }, 'a'],
    ['the slower one while the faster is busier by more', { latencyMs: 10, inFlight: 3 }, { latencyMs: 30 }, 'b'],
    ['one not heard of, once', { latencyMs: 10 }, {}, 'b'],
    ['one not heard of, but not twice', { latencyMs: 500, inFlight: 9 }, { inFlight: 1 }, 'a'],
    ['of two not heard of the idler one', { inFlight: 2 }, { inFlight: 1 }, 'b'],
    ['with more weight for the same cost', { latencyMs: 10 }, { latencyMs: 15, weight: 2 }, 'b'],
    ['the idler one of two that answer at once', { latencyMs: 0, inFlight: 2 }, { latencyMs: 0.2, inFlight: 1 }, 'b'],
  ])('takes %s', (_what, a, b, expected) => {
    const picker = new PeakEwmaBalancer(sequence()).picker<Node>([
      { id: 'a', inFlight: 0, ...a },
      { id: 'b', inFlight: 0, ...b },
    ]);
    for (let turn = 0; turn < 10; turn += 1) expect(pick(picker)).toBe(expected);
  });
});

describe('sticky', () => {
  it('gives no node more than its bounded part, whatever the keys', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 10 }),
        fc.array(fc.nat(3), { maxLength: 200 }),
        fc.constantFrom(1.05, 1.25, 2),
        (weights, keys, loadFactor) => {
          const nodes = nodesOf(weights.length, (index) => ({ weight: weights[index] }));
          const picker = new BoundedStickyBalancer({ loadFactor }).picker(nodes);
          const total = weights.reduce((sum, weight) => sum + weight, 0);
          for (const [count, key] of keys.entries()) {
            const id = pick(picker, { sessionId: `hot-${key}` });
            const node = nodes.find((candidate) => candidate.id === id)!;
            node.inFlight += 1;
            expect(node.inFlight).toBeLessThanOrEqual(Math.ceil((loadFactor * (count + 1) * node.weight!) / total));
          }
        },
      ),
    );
  });

  it('keeps a key on its node while there is room, and goes back to it', () => {
    const nodes = nodesOf(5);
    const picker = new BoundedStickyBalancer().picker(nodes);
    const home = pick(picker, { sessionId: 's' });
    const node = nodes.find(({ id }) => id === home)!;
    node.inFlight = 50;
    const other = pick(picker, { sessionId: 's' });
    expect(other).not.toBe(home);
    expect(pick(picker, { sessionId: 's' })).toBe(other);
    node.inFlight = 0;
    expect(pick(picker, { sessionId: 's' })).toBe(home);
  });

  it('moves only the keys of a node that leaves, and takes only a part of each for one that enters', () => {
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 12 }), fc.nat(), fc.string(), (count, at, key) => {
        const nodes = nodesOf(count);
        const whole = pick(new BoundedStickyBalancer().picker(nodes), { caller: key });
        const gone = `n${at % count}`;
        const without = pick(new BoundedStickyBalancer().picker(nodes.filter(({ id }) => id !== gone)), { caller: key });
        expect(whole === gone || whole === without).toBe(true);
      }),
    );
  });

  it('places keys by weight, and the session before the caller', () => {
    const picker = new BoundedStickyBalancer().picker(nodesOf(3, (index) => ({ weight: index + 1 })));
    const shares = sharesOf(picker, 12_000, sessionNumber);
    for (const [index, expected] of [2_000, 4_000, 6_000].entries()) {
      expect(Math.abs(shares[`n${index}`]! - expected)).toBeLessThan(250);
    }
    const bySession = sharesOf(picker, 100, (turn) => ({ sessionId: 's', caller: `c${turn}` }));
    expect(Object.keys(bySession)).toHaveLength(1);
  });

  it('refuses a load factor that leaves no room', () => {
    expect(() => new BoundedStickyBalancer({ loadFactor: 1 })).toThrow(expect.objectContaining({ option: 'loadFactor' }));
  });
});

describe('locality', () => {
  const regions = ['eu', 'eu', 'eu', 'eu', 'us', 'us', 'ap', undefined];
  const all = nodesOf(8, (index) => ({ region: regions[index] }));
  const make = (options = {}): Balancer =>
    new LocalityBalancer({
      region: 'eu',
      failover: ['us'],
      strategy: () => new RoundRobinBalancer(() => 0),
      random: sequence(),
      ...options,
    });
  const byRegion = (shares: Record<string, number>) => {
    const sums: Record<string, number> = {};
    for (const [id, share] of Object.entries(shares)) {
      const region = all.find((node) => node.id === id)?.region ?? 'none';
      sums[region] = (sums[region] ?? 0) + share / 10_000;
    }
    return sums;
  };

  it.each<[string, number[], Record<string, number>]>([
    ['all are usable', [0, 1, 2, 3, 4, 5, 6, 7], { eu: 1 }],
    ['three of four are: above the threshold', [0, 1, 2, 4, 5, 6, 7], { eu: 1 }],
    ['two of four are', [0, 1, 4, 5, 6, 7], { eu: 0.714, us: 0.286 }],
    ['one of four is', [0, 4, 5, 6, 7], { eu: 0.357, us: 0.643 }],
    ['one of four and one of two are', [0, 4, 6, 7], { eu: 0.357, us: 0.643 }],
    ['none is', [4, 5, 6, 7], { us: 1 }],
    ['only nodes of regions not named are', [6, 7], { ap: 0.5, none: 0.5 }],
  ])('when %s, shares are as they should be', (_what, usable, expected) => {
    const picker = make().picker(
      usable.map((index) => all[index]!),
      all,
    );
    const shares = byRegion(sharesOf(picker, 10_000));
    expect(Object.keys(shares).sort()).toEqual(Object.keys(expected).sort());
    for (const [region, share] of Object.entries(expected)) expect(Math.abs((shares[region] ?? 0) - share)).toBeLessThan(0.02);
  });

  it('with too little everywhere, gives each region its part of what is left', () => {
    const shares = byRegion(sharesOf(make({ threshold: 0.9 }).picker([all[0]!, all[4]!], all), 10_000));
    expect(Math.abs(shares['eu']! - 1 / 3)).toBeLessThan(0.02);
  });

  it('goes to the next region, not to any, when a request has failed in its own', () => {
    const picker = make().picker(all, all);
    expect(pick(picker, { exclude: new Set(['n0', 'n1', 'n2', 'n3']) })).toMatch(/n[45]/);
    expect(pick(picker, { exclude: new Set(['n0', 'n1', 'n2', 'n3', 'n4', 'n5']) })).toMatch(/n[67]/);
  });

  it('keeps a session in its region while the shares stay', () => {
    const picker = make().picker([all[0]!, all[1]!, all[4]!, all[5]!], all);
    const regionsOf = (sessionId: string) => Object.keys(byRegion(sharesOf(picker, 20, () => ({ sessionId }))));
    const found = Array.from({ length: 50 }, (_, index) => regionsOf(`s${index}`));
    expect(found.every((names) => names.length === 1)).toBe(true);
    expect(new Set(found.flat())).toEqual(new Set(['eu', 'us']));
  });

  it.each([
    ['threshold', { threshold: 0 }],
    ['threshold', { threshold: 1.1 }],
    ['failover', { failover: ['us', 'us'] }],
    ['failover', { failover: ['eu'] }],
  ])('refuses a wrong %s', (option, wrong) => {
    expect(() => make(wrong)).toThrow(expect.objectContaining({ option }));
  });
});

describe('routing rules', () => {
  const nodes = nodesOf(6, (index) => ({
    version: index < 4 ? '1.4.0' : '2.0.1',
    region: index % 2 === 0 ? 'eu' : 'us',
    metadata: index === 1 ? { capabilities: 'ocr, search', tier: 'gold' } : {},
  }));
  const make = (rules: ConstructorParameters<typeof RoutingRulesBalancer>[0]['rules']) =>
    new RoutingRulesBalancer({ rules, strategy: () => new RoundRobinBalancer(() => 0), random: sequence() }).picker(nodes);
  const seen = (picker: Picker<Node>, info: PickInfo = {}) =>
    Object.keys(sharesOf(picker, 60, () => info))
      .sort()
      .join(' ');

  it.each<[string, Parameters<typeof make>[0][number], PickInfo, string]>([
    ['a version', { nodes: { version: '2.0.1' } }, {}, 'n4 n5'],
    ['a pattern of versions', { nodes: { version: '1.*' } }, {}, 'n0 n1 n2 n3'],
    ['no part of a version', { nodes: { version: '2' } }, {}, 'n0 n1 n2 n3 n4 n5'],
    ['a region', { nodes: { region: 'us' } }, {}, 'n1 n3 n5'],
    ['a capability', { nodes: { capability: 'ocr' } }, {}, 'n1'],
    ['metadata', { nodes: { metadata: { tier: 'gold' } } }, {}, 'n1'],
    ['all of several', { nodes: { region: 'us', version: '2.*' } }, {}, 'n5'],
    ['a method', { methods: ['resources/*'], nodes: { version: '2.*' } }, { method: 'resources/read' }, 'n4 n5'],
    ['another method', { methods: ['resources/*'], nodes: { version: '2.*' } }, { method: 'tools/list' }, 'n0 n1 n2 n3 n4 n5'],
    ['a tool', { tools: ['pdf_*', 'ocr'], nodes: { capability: 'ocr' } }, { method: 'tools/call', tool: 'pdf_read' }, 'n1'],
    [
      'another tool',
      { tools: ['pdf_*'], nodes: { capability: 'ocr' } },
      { method: 'tools/call', tool: 'my_pdf_read' },
      'n0 n1 n2 n3 n4 n5',
    ],
    ['a dot that is only a dot', { tools: ['a.b'], nodes: { capability: 'ocr' } }, { tool: 'axb' }, 'n0 n1 n2 n3 n4 n5'],
    ['no call of a tool', { tools: ['*'], nodes: { capability: 'ocr' } }, { method: 'tools/list' }, 'n0 n1 n2 n3 n4 n5'],
  ])('lead by %s', (_what, rule, info, expected) => {
    expect(seen(make([rule]), info)).toBe(expected);
  });

  it('the first that matches decides', () => {
    expect(seen(make([{ nodes: { region: 'us' } }, { nodes: { version: '2.*' } }]))).toBe('n1 n3 n5');
  });

  it('when their nodes cannot take it, any other may, unless the rule refuses', () => {
    const exclude = new Set(['n4', 'n5']);
    expect(seen(make([{ nodes: { version: '2.*' } }]), { exclude })).toBe('n0 n1 n2 n3');
    expect(seen(make([{ nodes: { version: '2.*' }, otherwise: 'refuse' }]), { exclude })).toBe('none');
    expect(seen(make([{ nodes: { version: '3.*' }, otherwise: 'refuse' }]))).toBe('none');
  });

  it('use a strategy of their own among their nodes', () => {
    const picker = make([{ nodes: { version: '2.*' }, strategy: () => new LeastConnectionsBalancer() }]);
    nodes[4]!.inFlight = 5;
    expect(seen(picker)).toBe('n5');
    nodes[4]!.inFlight = 0;
  });

  it('go on with their turn when the list changes', () => {
    const balancer = new RoutingRulesBalancer({ rules: [{ nodes: { version: '2.*' } }], strategy: () => new RoundRobinBalancer(() => 0) });
    expect([pick(balancer.picker(nodes)), pick(balancer.picker(nodes)), pick(balancer.picker(nodes))]).toEqual(['n4', 'n5', 'n4']);
  });

  it('a canary gets its percentage of keys, always the same ones, and nothing else', () => {
    const picker = make([{ nodes: { version: '2.*' }, percentage: 10 }]);
    const isCanary = (turn: number) => ['n4', 'n5'].includes(pick(picker, sessionNumber(turn)));
    const chosen = Array.from({ length: 10_000 }, (_, turn) => turn).filter(isCanary);
    expect(Math.abs(chosen.length - 1_000)).toBeLessThan(90);
    expect(chosen.every(isCanary)).toBe(true);
    // Without a key it is a matter of chance.
    const { n4 = 0, n5 = 0 } = sharesOf(picker, 10_000);
    expect(Math.abs(n4 + n5 - 1_000)).toBeLessThan(90);
  });

  it('a growing canary only adds keys', () => {
    const chosen = (percentage: number) => {
      const picker = make([{ nodes: { version: '2.*' }, percentage }]);
      return Array.from({ length: 1_000 }, (_, turn) => ['n4', 'n5'].includes(pick(picker, { caller: `c${turn}` })));
    };
    const [none, few, many, all] = [0, 5, 50, 100].map(chosen);
    expect(none!.some(Boolean)).toBe(false);
    expect(all!.every(Boolean)).toBe(true);
    expect(few!.every((inFew, index) => !inFew || many![index])).toBe(true);
  });

  it('beyond the percentage, a canary still takes what nobody else can', () => {
    const picker = make([{ nodes: { version: '2.*' }, percentage: 0 }]);
    expect(seen(picker)).toBe('n0 n1 n2 n3');
    expect(seen(picker, { exclude: new Set(['n0', 'n1', 'n2', 'n3']) })).toBe('n4 n5');
  });

  it('refuse a percentage out of range', () => {
    expect(() => make([{ nodes: {}, percentage: 101 }])).toThrow(expect.objectContaining({ option: 'rules[0].percentage' }));
  });
});

describe('a reduced share', () => {
  const strategies: Record<string, (random: Random) => Balancer> = {
    'round-robin': (random) => new RoundRobinBalancer(random),
    'least-connections': (random) => new LeastConnectionsBalancer(random),
    weighted: (random) => new WeightedBalancer(random),
    p2c: (random) => new LeastRequestBalancer(random),
    'peak-ewma': (random) => new PeakEwmaBalancer(random),
  };

  it.each(Object.entries(strategies))('is what the node gets with %s, idle as it is', (_name, make) => {
    const random = sequence(7);
    const nodes = nodesOf(5, (index) => ({ inFlight: index === 0 ? 0 : 9, latencyMs: 5 }));
    for (const share of [0.1, 0.5]) {
      nodes[0]!.share = share;
      const picker = new ReducedShareBalancer({ strategy: make(random), random }).picker(nodes);
      const { n0 = 0 } = sharesOf(picker, 20_000);
      expect(Math.abs(n0 / 20_000 - share / (4 + share))).toBeLessThan(0.01);
    }
  });

  it('follows the weight where the strategy does', () => {
    const nodes = nodesOf(2, (index) => ({ weight: [8, 2][index], share: [0.5, 1][index] }));
    for (const [weighted, expected] of [
      [true, 4 / 6],
      [false, 0.5 / 1.5],
    ] as const) {
      const random = sequence(3);
      const picker = new ReducedShareBalancer({ strategy: new WeightedBalancer(random), weighted, random }).picker(nodes);
      expect(Math.abs(sharesOf(picker, 20_000)['n0']! / 20_000 - expected)).toBeLessThan(0.015);
    }
  });

  it('brings sessions back one after the other, each for good', () => {
    const nodes = nodesOf(4);
    const picker = createBalancer({ strategy: 'round-robin', rules: [], stickyLoadFactor: 1.25, random: sequence() });
    const home = Array.from({ length: 400 }, (_, turn) => pick(picker.picker(nodes), sessionNumber(turn)));
    let before = new Set<number>();
    for (const share of [0.1, 0.4, 0.8, 1]) {
      nodes[2]!.share = share;
      const now = picker.picker(nodes);
      const back = new Set(home.flatMap((id, turn) => (id === 'n2' && pick(now, sessionNumber(turn)) === 'n2' ? [turn] : [])));
      expect(Math.abs(back.size / home.filter((id) => id === 'n2').length - share)).toBeLessThan(0.1);
      expect([...before].every((turn) => back.has(turn))).toBe(true);
      // Who belongs elsewhere stays there.
      for (const [turn, id] of home.entries()) if (id !== 'n2') expect(pick(now, sessionNumber(turn))).toBe(id);
      before = back;
    }
    expect(before.size).toBe(home.filter((id) => id === 'n2').length);
  });

  it('ends without a new list', () => {
    const nodes = nodesOf(3);
    nodes[0]!.share = 0.1;
    const picker = new ReducedShareBalancer({ strategy: new RoundRobinBalancer(() => 0), random: () => 0.999 }).picker(nodes);
    expect(sharesOf(picker, 30)['n0']).toBeUndefined();
    nodes[0]!.share = 1;
    expect(sharesOf(picker, 30)).toEqual({ n0: 10, n1: 10, n2: 10 });
  });
});
