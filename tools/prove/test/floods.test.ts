import { expect, it } from 'vitest';
import { proof } from '../src/floods.ts';

it('floods leave a server within its bounds and its good client answered, and missing bounds are found out', {
  timeout: 180_000,
}, async () => {
  const { held, figure, details } = await proof.run(300, () => {});
  expect({ held, details }, figure).toEqual({ held: true, details: [] });
});
