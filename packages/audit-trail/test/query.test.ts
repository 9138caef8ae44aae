import { type AuditEvent, canonicalJson, type JsonObject } from '@mcp-blocks/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type AuditQuery, exportAuditTrail, queryAuditTrail, readAuditTrail } from '../src/index.js';
import { event, KINDS, type Kind, openSink, trailPath } from './trails.js';

const word = fc.constantFrom('alice', 'bob', '', 'a\0b', '\ud800', "o'neil", '%');
const events = fc.array(
  fc.record({
    time: fc.integer({ min: 0, max: 20 }),
    actor: word,
    type: word,
    target: word,
    outcome: fc.constantFrom('allowed', 'denied'),
  }),
  { maxLength: 12 },
) as fc.Arbitrary<AuditEvent[]>;
const optional = <T>(values: fc.Arbitrary<T>) => fc.option(values, { nil: undefined, freq: 2 });
const filters = fc.record({
  actor: optional(word),
  type: optional(word),
  target: optional(word),
  outcome: optional(fc.constantFrom('allowed', 'denied')),
  from: optional(fc.double({ min: 0, max: 20, noNaN: true })),
  to: optional(fc.integer({ min: 0, max: 20 })),
}) as fc.Arbitrary<AuditQuery>;

async function written(kind: Kind, list: readonly AuditEvent[]): Promise<string> {
  const path = trailPath(kind);
  const sink = openSink(kind, path);
  for (const one of list) sink.record(one);
  await sink.close();
  return path;
}

describe.each(KINDS)('querying a %s trail', (kind) => {
  it('finds just what matches, in order, page by page', async () => {
    await fc.assert(
      fc.asyncProperty(
        events,
        fc.array(filters, { minLength: 10, maxLength: 10 }),
        fc.integer({ min: 1, max: 4 }),
        async (list, all, limit) => {
          const path = await written(kind, list);
          for (const filter of all) {
            const expected = list.flatMap(({ actor, type, target, outcome, time }, index) =>
              (filter.actor ?? actor) === actor &&
              (filter.type ?? type) === type &&
              (filter.target ?? target) === target &&
              (filter.outcome ?? outcome) === outcome &&
              time >= (filter.from ?? 0) &&
              time < (filter.to ?? 21)
                ? [index + 1]
                : [],
            );
            const found: number[] = [];
            for (let cursor: string | undefined; ; ) {
              const page = await queryAuditTrail(path, { ...filter, limit, ...(cursor === undefined ? {} : { cursor }) });
              found.push(...page.records.map(({ seq }) => seq));
              cursor = page.cursor;
              if (cursor === undefined) break;
              expect(page.records).toHaveLength(limit);
            }
            expect(found).toEqual(expected);
          }
        },
      ),
      { numRuns: 8 },
    );
  });

  it.each<[query: object, option: string]>([
    [{ limit: 0 }, 'limit'],
    [{ limit: 10_001 }, 'limit'],
    [{ cursor: '-1' }, 'cursor'],
    [{ actor: 5 }, 'actor'],
    [{ outcome: 'good' }, 'outcome'],
    [{ from: Number.NaN }, 'from'],
  ])('refuses %j', async (query, option) => {
    await expect(queryAuditTrail(await written(kind, []), query)).rejects.toMatchObject({ name: 'ConfigurationError', option });
  });
});

async function exported(path: string, format: 'csv' | 'jsonl'): Promise<string> {
  let text = '';
  for await (const piece of exportAuditTrail(path, { format })) text += piece;
  return text;
}

/** A reader of CSV by RFC 4180. */
function parseCsv(text: string): string[][] {
  const rows: string[][] = [];
  let row: string[] = [];
  for (let at = 0; at < text.length; ) {
    const cell = /(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r\n)/y;
    cell.lastIndex = at;
    const match = cell.exec(text) ?? expect.fail(`no cell at ${at}`);
    row.push(match[1] === undefined ? (match[2] as string) : match[1].replaceAll('""', '"'));
    at = cell.lastIndex;
    if (match[3] === '\r\n') {
      rows.push(row);
      row = [];
    }
  }
  return rows;
}

describe('exporting', () => {
  const odd: AuditEvent[] = [
    { ...event(0, { a: '"quoted",\r\n' } as JsonObject), actor: '=HYPERLINK("http://x")', target: '@x', reason: '+1', durationMs: -0.5 },
    { ...event(1_000), actor: 'plain, with "quotes"\r\nand lines', target: '-x', transport: '\t=1', sessionId: '＝1' },
    { ...event(Number.MAX_SAFE_INTEGER), actor: 'a=b', target: '' },
  ];

  it('as JSON lines gives the records as they are stored', async () => {
    const path = await written('sqlite', odd);
    const texts = (await exported(path, 'jsonl')).trimEnd().split('\n');
    const records = [];
    for await (const record of readAuditTrail(path)) records.push(canonicalJson({ ...record, v: 1 } as never));
    expect(texts).toEqual(records);
  });

  it('as CSV can be read back, and no cell of text begins a formula', async () => {
    const [header, ...rows] = parseCsv(await exported(await written('file', odd), 'csv'));
    const table = rows.map((row) => Object.fromEntries(row.map((cell, index) => [header![index]!, cell])));
    expect(table).toMatchObject([
      {
        seq: '1',
        time: '1970-01-01T00:00:00.000Z',
        actor: `'=HYPERLINK("http://x")`,
        target: "'@x",
        reason: "'+1",
        durationMs: '-0.5',
        details: canonicalJson({ a: '"quoted",\r\n' }),
        hash: expect.stringMatching(/^[0-9a-f]{64}$/),
      },
      { seq: '2', actor: 'plain, with "quotes"\r\nand lines', target: "'-x", transport: "'\t=1", sessionId: "'＝1", details: '' },
      { seq: '3', time: '9007199254740991', actor: 'a=b', target: '' },
    ]);
  });

  it('as CSV of whatever text has as many cells in every row', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.string({ unit: fc.constantFrom('"', ',', '\r', '\n', '=', 'x', ' ') }), { maxLength: 5 }),
        async (actors) => {
          const rows = parseCsv(
            await exported(
              await written(
                'file',
                actors.map((actor) => ({ ...event(1), actor })),
              ),
              'csv',
            ),
          );
          expect(rows.map((row) => row.length)).toEqual(Array(actors.length + 1).fill(15));
          expect(rows.slice(1).map((row) => row[4]!.replace(/^'/, ''))).toEqual(actors);
        },
      ),
      { numRuns: 10 },
    );
  });
});
