import { expect, it } from 'vitest';
import { proof } from '../src/audit.ts';

it('audit, in short: damages are found, killed writers lose nothing, planted bugs are noticed', async () => {
  const { held, figure, details } = await proof.run(20, () => {});
  expect(details).toEqual([]);
  expect(held).toBe(true);
  expect(figure).toMatch(/^20 of 20 damages to 500 records found and located .*over 2 kills.*both planted bugs found$/);
});
