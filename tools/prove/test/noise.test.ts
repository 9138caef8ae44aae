import { expect, it } from 'vitest';
import { proof } from '../src/noise.ts';

it('vectors hold, no wrong frame is accepted, no message is lost when keys change, and planted bugs are found', {
  timeout: 120_000,
}, async () => {
  const { held, figure, details } = await proof.run(3000, () => {});
  expect({ held, details }, figure).toEqual({ held: true, details: [] });
});
