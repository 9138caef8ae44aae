import { expect, it } from 'vitest';
import { proof } from '../src/client.ts';

it('faults of every kind make no call run twice and none get lost, and clients with bugs are found out', { timeout: 600_000 }, async () => {
  const { held, figure, details } = await proof.run(24, () => {});
  expect({ held, details }, figure).toEqual({ held: true, details: [] });
});
