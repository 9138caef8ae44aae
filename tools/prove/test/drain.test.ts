import { expect, it } from 'vitest';
import { proof } from '../src/drain.ts';

it('rolling restarts under load fail no request, and a server that does not drain is noticed', { timeout: 60_000 }, async () => {
  const { held, figure, details } = await proof.run(2, () => {});
  expect({ held, details }, figure).toEqual({ held: true, details: [] });
});
