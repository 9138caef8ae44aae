import { measureSessions } from '../session-memory.ts';
import { measureIdle } from '../websocket/idle-memory.ts';
import { kindOf } from '../websocket/kinds.ts';
import { type Bench, program, type Section, withServer } from './section.ts';

/** What an idle WebSocket takes, beside an idle legacy session, ours and the SDK's. */
export async function measureIdleRows(bench: Bench): Promise<Section> {
  const { counts, pinning, step } = bench;
  const rows: { title: string; heapBytes: number; residentBytes: number }[] = [];
  for (const [title, file] of [
    ['MCP Blocks, fully secured: legacy session', 'ours-secured'],
    ['SDK v2: legacy session', 'sdk-v2'],
  ] as const) {
    step(`idle: ${title}`);
    const memory = await withServer(
      bench,
      program(file),
      (server) => {
        const { port, authorizations = [] } = server.announcement;
        return measureSessions({ host: '127.0.0.1', port, path: '/mcp' }, server, counts.idle, authorizations[0]);
      },
      { mode: 'sessions' },
    );
    if (memory === undefined) throw new Error(`${title}: it keeps no sessions`);
    rows.push({ title, ...memory });
  }
  for (const { kind, heapBytes, residentBytes } of await measureIdle(counts.idle, pinning, step, [kindOf('ws'), kindOf('ours-ws')])) {
    rows.push({ title: kind.ours ? 'MCP Blocks: WebSocket connection' : 'plain `ws`: connection', heapBytes, residentBytes });
  }
  const kib = (bytes: number) => (bytes / 1024).toFixed(1);
  const [session, , , socket] = rows;
  return {
    title: 'What waits',
    table: [
      '| one idle | heap, KiB | process, KiB |',
      '|---|--:|--:|',
      ...rows.map(({ title, heapBytes, residentBytes }) => `| ${title} | ${kib(heapBytes)} | ${kib(residentBytes)} |`),
    ].join('\n'),
    figure: `idle session ${kib(session?.heapBytes ?? Number.NaN)} KiB, idle WebSocket ${kib(socket?.heapBytes ?? Number.NaN)} KiB of heap`,
    note: `${counts.idle} of each, used once; growth of the server after full collections, divided by their number. A session's HTTP connections are closed,
  a WebSocket's is its own.`,
  };
}
