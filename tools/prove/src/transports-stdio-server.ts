import { once } from 'node:events';
import { connect } from 'node:net';
import { createInterface } from 'node:readline';
import { ManualClock, settle, type TransportCounts, TransportTestService } from '@mcp-blocks/core/testing';
import { SecureMCPServer, stdio } from '@mcp-blocks/secure-mcp-server';

/** What the proof asks of this process. */
export interface ToProcess {
  readonly id: number;
  readonly what: 'entered' | 'over' | 'release' | 'publish' | 'counts' | 'advance' | 'stop';
  readonly argument: string;
}

/** What became of the service, said before the process ends. */
export interface LastWords {
  readonly counts: TransportCounts;
  readonly outcomes: Readonly<Record<string, 'answered' | 'aborted'>>;
}

export type FromProcess = { readonly pid: number } | { readonly id: number; readonly value?: unknown } | { readonly lastWords: LastWords };

const control = connect(Number(process.env.TRANSPORTS_CONTROL_PORT), '127.0.0.1');
// Whoever steers this process has gone before it had begun.
control.once('error', () => process.exit(1));
await once(control, 'connect');
const say = (message: FromProcess) => control.write(`${JSON.stringify(message)}\n`);

say({ pid: process.pid });

const clock = new ManualClock();
const service = new TransportTestService();
const server = new SecureMCPServer({
  service,
  allowAnonymous: true,
  listeners: [stdio()],
  onError: () => {},
  clock,
  limits: { requestTimeoutMs: Number(process.env.TRANSPORTS_REQUEST_TIMEOUT_MS) },
});
const outcomes: Record<string, 'answered' | 'aborted'> = {};

async function answer({ what, argument }: ToProcess): Promise<unknown> {
  switch (what) {
    case 'entered':
      void service.over(argument).then((outcome) => {
        outcomes[argument] = outcome;
      });
      return service.entered(argument);
    case 'over':
      return service.over(argument);
    case 'release':
      return service.release(argument);
    case 'publish':
      return service.publish();
    case 'counts':
      return service.counts();
    case 'advance':
      return clock.advance(Number(argument));
    case 'stop':
      return stop();
  }
}

/** Stopping may wait for a client that does not read, and the last answers of one that has left: time goes on meanwhile. */
async function stop(): Promise<void> {
  const stopping = server.stop();
  await untilStopped();
  await stopping;
}

async function untilStopped(): Promise<void> {
  while (server.status !== 'stopped') await clock.advance(1000);
}

createInterface({ input: control }).on('line', (line) => {
  const request = JSON.parse(line) as ToProcess;
  void answer(request).then((value) => say({ id: request.id, value }));
});
server.on('statusChange', async ({ to }) => {
  if (to !== 'stopped') return;
  await settle();
  say({ lastWords: { counts: await service.counts(), outcomes } });
  control.end(() => process.exit());
});
process.stdin.once('end', () => void untilStopped());
await server.start();
