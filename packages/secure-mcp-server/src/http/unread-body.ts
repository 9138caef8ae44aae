import type { IncomingMessage } from 'node:http';
import type { Clock } from '@mcp-blocks/core';
import { settledWithin } from '../deadline.js';

/** Milliseconds that the rest of a refused body is read and thrown away, so that the client sees the refusal. */
export const LINGER_MS = 2000;

/** Whether more of the body may come than is worth reading only to keep the connection. */
export function isUnbounded(request: IncomingMessage, maxBytes: number): boolean {
  return !request.complete && !(Number(request.headers['content-length']) <= maxBytes);
}

/** Reads on a little: hanging up on a client that still sends would reset the connection under the response. */
export async function discardRest(request: IncomingMessage, clock: Clock): Promise<void> {
  if (request.destroyed) return;
  const over = new Promise<void>((resolve) => request.once('end', resolve).once('close', resolve).resume());
  await settledWithin(over, LINGER_MS, clock);
}
