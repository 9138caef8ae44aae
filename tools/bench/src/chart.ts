import type { Row } from './outcome.ts';
import { whole } from './report.ts';

const WIDTH = 760;
const LABEL_WIDTH = 250;
const VALUE_WIDTH = 130;
const ROW_HEIGHT = 28;
const TOP = 44;

/** The rows as horizontal bars: an SVG that follows the reader's light or dark scheme. */
export function chart(rows: readonly Row[]): string {
  const most = Math.max(1, ...rows.map((row) => (row.problem === undefined ? row.requestsPerSecond : 0)));
  const height = TOP + rows.length * ROW_HEIGHT + 12;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" aria-labelledby="title">
  <title id="title">Requests per second of a tools/call echo on one core, 32 connections</title>
  <style>
    text { font: 13px system-ui, -apple-system, "Segoe UI", sans-serif; fill: #1f2328; }
    .heading { font-weight: 600; }
    .quiet { fill: #59636e; }
    .other { fill: #afb8c1; }
    .limit { fill: #6e7781; }
    .ours { fill: #1f6feb; }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6edf3; }
      .quiet { fill: #9198a1; }
      .other { fill: #484f58; }
      .limit { fill: #8b949e; }
      .ours { fill: #4493f8; }
    }
  </style>
  <text class="heading" x="0" y="20">Requests per second, one core, 32 connections (of plain node:http)</text>
${rows.map((row, index) => bar(row, TOP + index * ROW_HEIGHT, most)).join('\n')}
</svg>
`;
}

function bar(row: Row, y: number, most: number): string {
  const { id, title } = row.contender;
  const way = id === 'limit' ? '' : `\u00a0· ${row.way}`;
  const baseline = y + 15;
  const label = `  <text x="${LABEL_WIDTH - 10}" y="${baseline}" text-anchor="end">${escapeXml(title)}<tspan class="quiet">${way}</tspan></text>`;
  if (row.problem !== undefined) return `${label}\n  <text class="quiet" x="${LABEL_WIDTH}" y="${baseline}">not measured</text>`;
  const width = Math.max(1, ((WIDTH - LABEL_WIDTH - VALUE_WIDTH) * row.requestsPerSecond) / most);
  const kind = id === 'limit' ? 'limit' : id.startsWith('ours') ? 'ours' : 'other';
  const value = `${whole(row.requestsPerSecond)}<tspan class="quiet">\u00a0· ${row.ofLimit.toFixed(2)}</tspan>`;
  return `${label}
  <rect class="${kind}" x="${LABEL_WIDTH}" y="${y}" width="${width.toFixed(1)}" height="20" rx="3"/>
  <text x="${(LABEL_WIDTH + width + 8).toFixed(1)}" y="${baseline}">${value}</text>`;
}

function escapeXml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
