import { expect, it } from 'vitest';
import { proof } from '../src/authz.ts';

it('the registry decides as its README says, and every planted bug is found', async () => {
  const { held, figure, details } = await proof.run(10_000, () => {});
  expect(details).toEqual([]);
  expect(figure).toMatch(/^10,\d{3} of 10,\d{3} decisions .*; (\d+) of \1 planted bugs found$/);
  expect(held).toBe(true);
});
