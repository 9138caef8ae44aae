import { expect, it } from 'vitest';
import { proveCluster } from '../src/cluster.ts';

it('nine kinds of faults cause no duplicate effect and no silent loss, and planted bugs are found', { timeout: 480_000 }, async () => {
  const extent = { faults: 9, patient: true, bugs: ['repeats-everything', 'no-keys'] } as const;
  const { held, figure, details } = await proveCluster(extent, () => {});
  expect({ held, details }, figure).toEqual({ held: true, details: [] });
});
