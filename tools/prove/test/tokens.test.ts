import { expect, it } from 'vitest';
import { proof } from '../src/tokens.ts';

it('no forged or mutated token is accepted, keys rotate unnoticed, and planted bugs are found', { timeout: 60_000 }, async () => {
  const { held, figure, details } = await proof.run(5000, () => {});
  expect({ held, details }, figure).toEqual({ held: true, details: [] });
});
