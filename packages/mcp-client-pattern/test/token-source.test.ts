import { expect, it, vi } from 'vitest';
import { TokenSource } from '../src/token-source.js';

it('asks once for everybody, and again only after the token it holds was refused', async () => {
  let issued = 0;
  const get = vi.fn(async () => `token-${++issued}`);
  const source = new TokenSource(get);
  expect(await Promise.all([source.token(), source.token()])).toEqual(['token-1', 'token-1']);
  await Promise.all([source.discard('token-1'), source.discard('token-1')]);
  expect(await Promise.all([source.token(), source.token()])).toEqual(['token-2', 'token-2']);
  await source.discard('token-1');
  expect(await source.token()).toBe('token-2');
  expect(get).toHaveBeenCalledTimes(2);
});

it('asks again after the function has failed', async () => {
  const get = vi.fn(async () => 'token').mockRejectedValueOnce(new Error('not now'));
  const source = new TokenSource(get);
  await expect(source.token()).rejects.toMatchObject({ code: 'unauthenticated' });
  expect(await source.token()).toBe('token');
});

it.each(['fixed', undefined])('has nothing to renew when the token is %s', async (option) => {
  const source = new TokenSource(option);
  expect(source.renewable).toBe(false);
  await source.discard(option);
  expect(await source.token()).toBe(option);
});
