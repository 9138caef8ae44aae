import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { World } from './client-storm.ts';

const PROGRAM = fileURLToPath(new URL('client-heap-client.ts', import.meta.url));

/** What a client with bugs keeps of every connection. */
export interface Leak {
  /** Numbers beside the SDK's client, so that a short run shows it. */
  readonly ballast: number;
}

/** What the measured client is to do. */
export interface HeapOrder {
  readonly http: number;
  readonly websocket: number;
  readonly era: 'modern' | 'legacy';
  readonly reconnects: number;
  readonly leak?: Leak;
  /** How long a connection may take to come, and what is closed to be gone. */
  readonly patienceMs: number;
}

/** What the measured client wants done to its connections. */
export type HeapRequest = 'cut the WebSocket' | 'shut the WebSocket' | 'open the WebSocket' | 'cut HTTP';

export interface HeapReport {
  /** Bytes in use after garbage collection. */
  readonly points: readonly (readonly [reconnects: number, bytes: number])[];
  /** What keeps the process running and did not before there was a client. */
  readonly leaked: readonly string[];
  readonly reconnects: number;
  readonly fallbacks: number;
}

export interface HeapOptions {
  readonly reconnects: number;
  readonly patienceMs: number;
  readonly leak?: Leak;
  onReconnect?(): void;
}

/** Reconnects a client so often, and looks at what that leaves. */
export async function measureHeap(world: World, { onReconnect, ...options }: HeapOptions): Promise<HeapReport> {
  const [websocket, http] = [world.websocket.proxy, world.http.proxy];
  const order: HeapOrder = { http: http.port, websocket: websocket.port, era: world.era, ...options };
  const child = fork(PROGRAM, [JSON.stringify(order)], { execArgv: ['--expose-gc'] });
  const serve = async (request: HeapRequest) => {
    if (request !== 'cut HTTP') onReconnect?.();
    if (request === 'shut the WebSocket') websocket.shut();
    if (request === 'open the WebSocket') await websocket.open();
    else if (request === 'cut HTTP') http.cut();
    else websocket.cut();
    child.send('done');
  };
  try {
    return await new Promise<HeapReport>((resolve, reject) => {
      child.on('message', (message: HeapRequest | HeapReport) => {
        if (typeof message === 'object') resolve(message);
        else serve(message).catch(reject);
      });
      child.once('exit', (code, killedBy) => reject(new Error(`the measured client ended with ${code ?? killedBy}`)));
    });
  } finally {
    child.kill('SIGKILL');
  }
}

/** The slope of a straight line through the points (least squares). */
export function slopeOf(points: readonly (readonly [x: number, y: number])[]): number {
  const meanX = points.reduce((sum, [x]) => sum + x, 0) / points.length;
  const meanY = points.reduce((sum, [, y]) => sum + y, 0) / points.length;
  const covariance = points.reduce((sum, [x, y]) => sum + (x - meanX) * (y - meanY), 0);
  return covariance / points.reduce((sum, [x]) => sum + (x - meanX) ** 2, 0);
}
