import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { whole } from '../report.ts';
import { median } from '../statistics.ts';
import { type Bench, program, type Section, withServer } from './section.ts';
import type { WebSocketJob, WebSocketLoad } from './websocket-generator.ts';

const GENERATOR = fileURLToPath(new URL('./websocket-generator.ts', import.meta.url));
const WINDOW = 32;

const SERVERS = [
  { title: 'plain `ws`, JSON echo', program: program('websocket-json'), path: '/' },
  { title: 'MCP Blocks, fully secured', program: program('ours-secured', '10', 'websocket'), path: '/ws' },
] as const;

/** Calls over one multiplexed WebSocket connection. */
export async function measureWebSocketCalls(bench: Bench): Promise<Section> {
  const results = SERVERS.map((): WebSocketLoad[] => []);
  for (let round = 1; round <= bench.counts.rounds; round += 1) {
    for (const [at, { title, program: started, path }] of SERVERS.entries()) {
      bench.step(`round ${round}: WebSocket, ${title}`);
      const result = await withServer(bench, started, ({ announcement: { port, authorizations = [] } }) =>
        generate(bench, {
          url: `ws://127.0.0.1:${port}${path}`,
          ...(authorizations[0] === undefined ? {} : { authorization: authorizations[0] }),
        }),
      );
      results[at]?.push(result);
    }
  }
  const of = (at: number, figure: (result: WebSocketLoad) => number) => median((results[at] as WebSocketLoad[]).map(figure));
  const ratios = results.map((own) =>
    median(own.map((value, round) => value.callsPerSecond / (results[0]?.[round]?.callsPerSecond as number))),
  );
  const busy = Math.max(...results.flat().map(({ generatorBusy }) => generatorBusy));
  return {
    title: 'Calls over one WebSocket connection',
    table: [
      '| server | calls/s | of plain `ws` | p50 ms | p99 ms |',
      '|---|--:|--:|--:|--:|',
      ...SERVERS.map(
        ({ title }, at) =>
          `| ${title} | ${whole(of(at, (result) => result.callsPerSecond))} | ${ratios[at]?.toFixed(3)} | ${of(at, (result) => result.p50Ms).toFixed(2)} | ${of(at, (result) => result.p99Ms).toFixed(2)} |`,
      ),
    ].join('\n'),
    figure: `WebSocket ${ratios[1]?.toFixed(2)} of plain ws`,
    note: `${WINDOW} calls in progress on one connection. The plain server parses each request and answers with JSON; the secured one has checked a
  token when the connection was opened, and checks role and limits and writes an audit record for each call. Every answer is checked. The
  generator was busy at most ${(busy * 100).toFixed(0)} % of the time. Aim: at least 0.6.`,
  };
}

async function generate({ counts, pinning }: Bench, server: Pick<WebSocketJob, 'url' | 'authorization'>): Promise<WebSocketLoad> {
  const job: WebSocketJob = { ...server, window: WINDOW, warmUpMs: counts.warmUpSeconds * 1000, durationMs: counts.seconds * 1000 };
  const [command, ...args] = [...pinning.generator, process.execPath, GENERATOR, JSON.stringify(job)];
  const { stdout } = await promisify(execFile)(command as string, args);
  return JSON.parse(stdout) as WebSocketLoad;
}
