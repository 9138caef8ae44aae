import { WebSocket } from 'ws';
import { wrongAnswer } from '../echo-answer.ts';
import { callMessage, echoedText } from '../echo-request.ts';
import { percentile } from '../statistics.ts';

/** What the generator is to do. */
export interface WebSocketJob {
  readonly url: string;
  readonly authorization?: string;
  /** Calls in progress at a time, on one connection. */
  readonly window: number;
  readonly warmUpMs: number;
  readonly durationMs: number;
}

/** What it saw. */
export interface WebSocketLoad {
  readonly callsPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly generatorBusy: number;
}

const FIRST_ID = 10_000_000;

/** Keeps `window` calls in progress on one connection; every answer has to be right, in whatever order. */
function run({ url, authorization, window, warmUpMs, durationMs }: WebSocketJob): Promise<WebSocketLoad> {
  const socket = new WebSocket(url, 'mcp', {
    perMessageDeflate: false,
    ...(authorization === undefined ? {} : { headers: { authorization } }),
  });
  // The same text each time but for the number, which is the id and part of the text that is echoed.
  const parts = JSON.stringify(callMessage('modern', FIRST_ID, echoedText(FIRST_ID))).split(String(FIRST_ID)) as [string, string, string];
  const sentAt = new Map<number, number>();
  const latencies: number[] = [];
  let template: { readonly parts: readonly string[] } | undefined;
  let next = FIRST_ID;
  return new Promise((resolve, reject) => {
    const startsAt = performance.now() + warmUpMs;
    let cpuAtStart: NodeJS.CpuUsage | undefined;
    const ask = () => {
      const id = next++;
      sentAt.set(id, performance.now());
      socket.send(`${parts[0]}${id}${parts[1]}${id}${parts[2]}`);
    };
    const take = (text: string): number => {
      // An answer is right that is the last one looked at in full, with its own number in the place of that one's.
      if (template !== undefined) {
        const [first, second, third] = template.parts as [string, string, string];
        const id = text.slice(first.length, first.length + 8);
        if (text === `${first}${id}${second}${id}${third}` && sentAt.has(Number(id))) return Number(id);
      }
      const { id } = JSON.parse(text) as { id: number };
      const wrong = sentAt.has(id)
        ? wrongAnswer({ status: 200, contentType: 'application/json', body: text }, id)
        : 'an id that was not asked for';
      if (wrong !== undefined) throw new Error(wrong);
      const split = text.split(String(id));
      template = split.length === 3 ? { parts: split } : undefined;
      return id;
    };
    socket.on('error', reject);
    socket.on('close', () => reject(new Error('the connection was closed')));
    socket.on('open', () => {
      for (let lead = 0; lead < window; lead += 1) ask();
    });
    socket.on('message', (data: Buffer) => {
      try {
        const id = take(data.toString());
        const now = performance.now();
        const asked = sentAt.get(id) as number;
        sentAt.delete(id);
        if (now >= startsAt) {
          cpuAtStart ??= process.cpuUsage();
          latencies.push(now - asked);
        }
        if (now < startsAt + durationMs || latencies.length === 0) return ask();
        const { user, system } = process.cpuUsage(cpuAtStart);
        const elapsedMs = now - startsAt;
        resolve({
          callsPerSecond: (1000 * latencies.length) / elapsedMs,
          p50Ms: percentile(latencies, 50),
          p99Ms: percentile(latencies, 99),
          generatorBusy: (user + system) / 1000 / elapsedMs,
        });
      } catch (error) {
        reject(error as Error);
      }
    });
  });
}

try {
  console.log(JSON.stringify(await run(JSON.parse(process.argv[2] as string) as WebSocketJob)));
  process.exit();
} catch (error) {
  console.error((error as Error).message);
  process.exit(1);
}
