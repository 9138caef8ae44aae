import { expect, it } from 'vitest';
import { websocketHeadline, websocketTables } from '../src/websocket/tables.ts';
import { measureWebSocket } from '../src/websocket/websocket-bench.ts';

// How fast anything is depends on the machine: what is looked at is that everything is measured.
it('measures every kind at every size, its handshakes and its idle connections', { timeout: 120_000 }, async () => {
  const figures = await measureWebSocket({ rounds: 1, seconds: 0.01, connections: 20 }, () => {});
  expect(figures.rows.map(({ kind }) => kind.id)).toEqual(['ws', 'wss', 'ours-ws', 'ours-wss', 'noise-aes', 'noise-chacha']);
  const cells = figures.rows.flatMap((row) => [...row.cells.values()]);
  expect(cells).toHaveLength(6 * 10);
  for (const { perSecond, p50Ms, p99Ms, ofLimit } of cells) {
    expect([perSecond, p50Ms, p99Ms, ofLimit].every((figure) => figure > 0 && Number.isFinite(figure))).toBe(true);
  }
  expect([...(figures.rows[0]?.cells.values() ?? [])].map(({ ofLimit }) => ofLimit)).toEqual(Array(10).fill(1));
  expect(figures.idle.map(({ kind }) => kind.id)).toEqual(figures.rows.map(({ kind }) => kind.id));
  expect(figures.idle.every(({ heapBytes, residentBytes }) => Number.isFinite(heapBytes) && Number.isFinite(residentBytes))).toBe(true);
  expect(websocketTables(figures)).toContain('| plain `ws` over TLS |');
  expect(websocketHeadline(figures)).toMatch(/^bench: Noise \(AESGCM\) in WS, of plain ws: \d+\.\d\d at 64 B, /);
});
