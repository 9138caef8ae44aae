import { expect, it } from 'vitest';
import { proof } from '../src/limits.ts';

it('processes on one Redis never exceed a limit, an outage stays within its bound, and a store in two steps is found out', async () => {
  const { held, figure, details } = await proof.run(60, () => {});
  expect({ held, details }, figure).toEqual({ held: true, details: [] });
}, 60_000);
