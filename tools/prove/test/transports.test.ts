import { expect, it } from 'vitest';
import { proveTransports } from '../src/transports.ts';
import { columns } from '../src/transports-matrix.ts';

it('every transport keeps the contract in both eras, and broken ones do not', { timeout: 300_000 }, async () => {
  // One client for each transport and era, a different one from transport to transport.
  const all = columns();
  const groups = new Map<string, typeof all>();
  for (const column of all) {
    const key = `${column.transport} ${column.harness.era}`;
    groups.set(key, [...(groups.get(key) ?? []), column]);
  }
  const chosen = [...groups.values()].map((group, index) => group[index % group.length]!);
  expect(new Set(chosen.map(({ client }) => client)).size).toBe(3);
  const { held, figure, details } = await proveTransports(chosen, 1, () => {});
  expect({ held, details }, figure).toEqual({ held: true, details: [] });
});
