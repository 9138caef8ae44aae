import { expect, it } from 'vitest';
import { parseOptions } from '../src/options.ts';

const parse = (...args: string[]) => parseOptions(args, ['limit', 'ours', 'tmcp'], '/docs');

it('a full run writes the page, a quick or partial one does not unless told to', () => {
  expect(parse()).toMatchObject({ rounds: 5, seconds: 3, connections: 32, out: '/docs', only: undefined });
  expect(parse('--quick')).toMatchObject({ rounds: 1, out: undefined });
  expect(parse('--only', 'ours, tmcp')).toMatchObject({ only: new Set(['ours', 'tmcp']), out: undefined });
  expect(parse('--quick', '--out', '/elsewhere', '--rounds', '2')).toMatchObject({ rounds: 2, out: '/elsewhere' });
});

it('help is no run', () => {
  expect(parse('--help')).toBeUndefined();
});

it.each([
  [['--only', 'ours,nobody'], "--only: there is no 'nobody'; known are limit, ours, tmcp"],
  [['--rounds', '0'], "--rounds: '0' is not a whole number of at least 1"],
  [['--rounds', '1.5'], '--rounds'],
  [['--seconds', 'x'], "--seconds: 'x' is not a number of at least 0.1"],
  [['--seconds', ''], '--seconds'],
  [['--sessions', '-1'], '--sessions'],
  [['--fast'], '--fast'],
])('refuses %j', (args, message) => {
  expect(() => parse(...args)).toThrow(message);
});
