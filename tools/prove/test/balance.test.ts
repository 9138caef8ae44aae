import { expect, it } from 'vitest';
import { proveStrategies } from '../src/balance-pure.ts';

it('strategies spread, weigh and keep as promised, and every planted bug is found', async () => {
  const { held, figure, details } = await proveStrategies(10_000, () => {});
  expect({ held, details }, figure).toEqual({ held: true, details: [] });
}, 60_000);
