import { describe, expect, it } from 'vitest';
import { chart } from '../src/chart.ts';
import type { Contender } from '../src/contenders.ts';
import type { Way } from '../src/echo-request.ts';
import type { Outcome, Row } from '../src/outcome.ts';
import { document, headline, tables } from '../src/report.ts';

function contender(id: string, title: string): Contender {
  return { id, title, note: `what ${title} is`, ways: ['modern'], prepare: () => Promise.reject(new Error('not for this test')) };
}

const measured = (id: string, title: string, requestsPerSecond: number, way: Way = 'modern'): Row => ({
  contender: contender(id, title),
  way,
  requestsPerSecond,
  range: [requestsPerSecond / 2, requestsPerSecond * 2],
  p50Ms: 1.234,
  p99Ms: 5.678,
  ofLimit: requestsPerSecond / 40_000,
  ofSdkV2: requestsPerSecond / 4000,
});
const missing: Row = { contender: contender('peer', 'a <peer>'), way: 'session', problem: 'npm said:\n no | way' };

const outcome: Outcome = {
  rows: [measured('limit', 'plain node:http', 40_000), measured('ours-secured', 'fully secured', 12_345.6), missing],
  sessions: [
    { contender: contender('ours', 'ours'), memory: { heapBytes: 12_288, residentBytes: 20_480 } },
    { contender: contender('peer', 'a <peer>'), problem: 'not installed' },
  ],
  generatorBusy: 0.42,
};
const options = { rounds: 5, seconds: 3, warmUpSeconds: 2, connections: 32, sessions: 500, only: undefined, out: undefined };
const run = { cpu: 'CPU', cores: 2, node: '24.0.0', system: 'Linux', date: '2026-11-20', command: 'npm run bench', pinning: 'pinned' };

describe('the tables', () => {
  it('show figures and ratios', () => {
    expect(tables(outcome)).toContain(
      '| fully secured | 2026-07-28 | 12\u00a0346 | 6\u00a0173–24\u00a0691 | 0.309 | 3.09 x | 1.23 | 5.68 |',
    );
    expect(tables(outcome)).toContain('| ours | 12.0 KiB | 20.0 KiB |');
  });

  it('say why a row has no figures, in one cell', () => {
    expect(tables(outcome)).toContain('| a <peer> | 2025-11-25 session | not measured: npm said: no \\| way | | | | | |');
    expect(tables(outcome)).toContain('| a <peer> | not installed | |');
  });
});

describe('the page', () => {
  it('tells machine, command and method', () => {
    const page = document(outcome, options, run);
    for (const text of [
      'CPU, 2 cores',
      '24.0.0',
      '2026-11-20',
      '`npm run bench`',
      'pinned',
      '5 rounds of 3 s',
      'what fully secured is',
      'busy at most 42 %',
    ]) {
      expect(page).toContain(text);
    }
  });

  it('warns when the generator may have been the limit', () => {
    expect(document({ ...outcome, generatorBusy: 0.95 }, options, run)).toContain('may have limited');
    expect(document(outcome, options, run)).not.toContain('may have limited');
  });
});

it.each<[string, readonly Row[], string]>([
  ['is the secured row', outcome.rows, 'bench: fully secured 12346 req/s = 0.309 of plain node:http, 3.09 x SDK v2'],
  ['says that it was not asked for', [outcome.rows[0]!], 'bench: fully secured was not measured in this run'],
  [
    'says why it is missing',
    [{ contender: contender('ours-secured', 'x'), way: 'modern', problem: 'broken' }],
    'bench: fully secured could not be measured: broken',
  ],
])('the headline %s', (_, rows, expected) => {
  expect(headline({ ...outcome, rows })).toBe(expected);
});

it('the chart has a bar for every figure, a word for every missing one, and both colour schemes', () => {
  const svg = chart(outcome.rows);
  const widths = [...svg.matchAll(/<rect class="(\w+)" .*? width="([\d.]+)"/g)].map(([, kind, width]) => [kind, Number(width)]);
  expect(widths).toEqual([
    ['limit', 380],
    ['ours', 117.3],
  ]);
  expect(svg).toContain('a &lt;peer&gt;');
  expect(svg.match(/not measured/g)).toHaveLength(1);
  expect(svg).toContain('@media (prefers-color-scheme: dark)');
});
