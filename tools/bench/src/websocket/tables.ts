import { whole } from '../report.ts';
import type { Cell, KindRow } from './echo-rounds.ts';
import type { IdleRow } from './idle-memory.ts';
import { SIZES, type WebSocketFigures } from './websocket-bench.ts';

/** Everything in Markdown. */
export function websocketTables({ rows, idle }: WebSocketFigures): string {
  const echo = SIZES.flatMap(({ name, bytes }) => [
    `| ${name} | messages/s | MB/s | of plain \`ws\` | alone: p50 ms | alone: p99 ms |`,
    '|---|--:|--:|--:|--:|--:|',
    ...rows.map(({ kind, cells }) => {
      const { perSecond, ofLimit } = cells.get(name) as Cell;
      const alone = cells.get(`${name}, one at a time`) as Cell;
      const megabytes = (perSecond * bytes) / 1e6;
      return `| ${kind.title} | ${whole(perSecond)} | ${megabytes.toFixed(megabytes < 100 ? 1 : 0)} | ${ofLimit.toFixed(2)} | ${alone.p50Ms.toFixed(3)} | ${alone.p99Ms.toFixed(3)} |`;
    }),
    '',
  ]);
  const handshakes = [
    '| handshakes | per second | of plain `ws` | alone: p50 ms |',
    '|---|--:|--:|--:|',
    ...rows.map(({ kind, cells }) => {
      const { perSecond, ofLimit } = cells.get('handshakes') as Cell;
      const alone = cells.get('handshakes, one at a time') as Cell;
      return `| ${kind.title} | ${whole(perSecond)} | ${ofLimit.toFixed(2)} | ${alone.p50Ms.toFixed(2)} |`;
    }),
  ];
  return [...echo, ...handshakes, ...(idle.length === 0 ? [] : ['', ...idleTable(idle)])].join('\n');
}

function idleTable(idle: readonly IdleRow[]): string[] {
  const limit = idle[0] as IdleRow;
  return [
    `| ${whole(limit.connections)} idle connections | heap, KiB each | process, KiB each | above plain \`ws\`, KiB |`,
    '|---|--:|--:|--:|',
    ...idle.map(
      (row) =>
        `| ${row.kind.title} | ${kib(row.heapBytes)} | ${kib(row.residentBytes)} | ${row === limit ? '' : kib(row.residentBytes - limit.residentBytes)} |`,
    ),
  ];
}

/** The last line of a run. */
export function websocketHeadline({ rows, idle }: WebSocketFigures): string {
  const noise = rows.find(({ kind }) => kind.id === 'noise-aes') as KindRow;
  const ratios = SIZES.map(({ name }) => `${(noise.cells.get(name) as Cell).ofLimit.toFixed(2)} at ${name}`);
  const [limit] = idle;
  const own = idle.find(({ kind }) => kind.id === 'noise-aes');
  const memory = limit && own ? `; an idle connection takes ${kib(own.residentBytes - limit.residentBytes)} KiB more` : '';
  return `bench: Noise (AESGCM) in WS, of plain ws: ${ratios.join(', ')}${memory}`;
}

function kib(bytes: number): string {
  return (bytes / 1024).toFixed(1);
}
