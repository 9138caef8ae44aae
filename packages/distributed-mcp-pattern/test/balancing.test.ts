import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { rendezvous } from '../src/balancing/rendezvous.js';
import { LeastConnectionsBalancer, RoundRobinBalancer } from '../src/index.js';

const nodesOf = (...inFlight: number[]) => inFlight.map((count, index) => ({ id: `n${index}`, inFlight: count }));
const ids = fc.uniqueArray(fc.string({ minLength: 1 }), { minLength: 1, maxLength: 12 });
const zero = () => 0;
const picked = (result: { kind: string; node?: { id: string } }) => (result.kind === 'complete' ? result.node?.id : result.kind);

describe('round-robin', () => {
  it('gives every node the same share', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 12 }),
        fc.integer({ min: 1, max: 20 }),
        fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
        (count, rounds, random) => {
          const picker = new RoundRobinBalancer(() => random).picker(nodesOf(...Array<number>(count).fill(0)));
          const shares = new Map<unknown, number>();
          for (let i = 0; i < count * rounds; i += 1) {
            const id = picked(picker.pick({}));
            shares.set(id, (shares.get(id) ?? 0) + 1);
          }
          expect([...shares.values()]).toEqual(Array<number>(count).fill(rounds));
        },
      ),
    );
  });

  it('goes on where it was when the list changes', () => {
    const balancer = new RoundRobinBalancer(zero);
    expect(picked(balancer.picker(nodesOf(0, 0, 0)).pick({}))).toBe('n0');
    expect(picked(balancer.picker(nodesOf(0, 0, 0)).pick({}))).toBe('n1');
  });
});

describe('least-connections', () => {
  it.each([
    [[3, 1, 2], [], 'n1'],
    [[3, 1, 2], ['n1'], 'n2'],
    [[0], [], 'n0'],
    [[0], ['n0'], 'unavailable'],
    [[], [], 'unavailable'],
  ])('of nodes with %j requests, without %j, picks %s', (inFlight, exclude, expected) => {
    const picker = new LeastConnectionsBalancer(zero).picker(nodesOf(...inFlight));
    expect(picked(picker.pick({ exclude: new Set(exclude) }))).toBe(expected);
  });

  it('never picks a node with more requests than another', () => {
    fc.assert(
      fc.property(
        fc.array(fc.nat(50), { minLength: 1 }),
        fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
        (inFlight, random) => {
          const nodes = nodesOf(...inFlight);
          const result = new LeastConnectionsBalancer(() => random).picker(nodes).pick({});
          expect(result).toMatchObject({ kind: 'complete', node: { inFlight: Math.min(...inFlight) } });
        },
      ),
    );
  });

  it('spreads over equals', () => {
    let seed = 1;
    // A linear congruential generator: the same numbers in every run.
    const random = () => (seed = (seed * 1_664_525 + 1_013_904_223) % 2 ** 32) / 2 ** 32;
    const picker = new LeastConnectionsBalancer(random).picker(nodesOf(5, 0, 0, 0));
    const shares: Record<string, number> = {};
    for (let i = 0; i < 3_000; i += 1) {
      const id = String(picked(picker.pick({})));
      shares[id] = (shares[id] ?? 0) + 1;
    }
    expect(Object.keys(shares).sort()).toEqual(['n1', 'n2', 'n3']);
    for (const share of Object.values(shares)) expect(Math.abs(share - 1_000)).toBeLessThan(150);
  });
});

describe('every picker', () => {
  it.each([
    ['round-robin', new RoundRobinBalancer(zero)],
    ['least-connections', new LeastConnectionsBalancer(zero)],
  ])('%s picks each node not excluded until none is left', (_name, balancer) => {
    fc.assert(
      fc.property(ids, (names) => {
        const picker = balancer.picker(names.map((id) => ({ id, inFlight: 0 })));
        const exclude = new Set<string>();
        for (const _ of names) {
          const result = picker.pick({ exclude });
          expect(result.kind).toBe('complete');
          if (result.kind === 'complete') exclude.add(result.node.id);
        }
        expect(exclude).toEqual(new Set(names));
        expect(picker.pick({ exclude })).toMatchObject({ kind: 'unavailable' });
      }),
    );
  });
});

describe('sessions', () => {
  it('stay on their node when another one leaves or enters', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.string({ minLength: 1 }), { minLength: 2, maxLength: 12 }), fc.string(), (names, key) => {
        const nodes = names.map((id) => ({ id, inFlight: 0 }));
        const before = rendezvous(key, nodes)?.id;
        const gone = names[0];
        const after = rendezvous(key, nodes.slice(1))?.id;
        expect(before === gone || before === after).toBe(true);
        expect(rendezvous(key, [...nodes].reverse())?.id).toBe(before);
      }),
    );
  });

  it('spread evenly over the nodes', () => {
    const nodes = nodesOf(0, 0, 0, 0);
    const shares = new Map<unknown, number>();
    for (let i = 0; i < 4_000; i += 1) {
      const id = rendezvous(`session-${i}`, nodes)?.id;
      shares.set(id, (shares.get(id) ?? 0) + 1);
    }
    for (const share of shares.values()) expect(Math.abs(share - 1_000)).toBeLessThan(150);
  });
});
