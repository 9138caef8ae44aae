import { expect, it } from 'vitest';
import { proof } from '../src/limits.ts';

it('processes on one Redis never exceed a limit, an outage stays within its bound, and planted bugs are found out', async () => {
  const { held, figure, details } = await proof.run(60, () => {});
  expect({ held, details }, figure).toEqual({ held: true, details: [] });
}, 120_000);
