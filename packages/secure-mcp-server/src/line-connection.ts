import type { Readable, Writable } from 'node:stream';
import { type ListenerHost, type Principal, systemClock } from '@mcp-blocks/core';
import { type ServedChannel, serveChannel } from '@mcp-blocks/core/sdk';
import { settledWithin } from './deadline.js';
import { atTime } from './expiry.js';
import { LineTransport } from './line-transport.js';

/** Most bytes that wait for a peer, beside one message, before it is cut. */
const MAX_BUFFERED_BYTES = 16 * 1024 * 1024;

/** Milliseconds that the closing messages may take. */
const CLOSING_MS = 1000;

/** One peer served over newline-delimited JSON. */
export interface LineConnection {
  /** Resolves when the connection has ended, from whichever side. */
  readonly closed: Promise<void>;
  idle(): Promise<void>;
  /** Ends subscriptions with their closing result, then the connection. */
  close(): Promise<void>;
}

/** What is served, and to whom. */
export interface LineConnectionOptions {
  readonly input: Readable;
  readonly output: Writable;
  readonly principal: Principal;
  readonly transport: string;
  /** Milliseconds that requests in progress get when the input has ended. */
  readonly lastAnswersMs: number;
}

/** Serves the host's service to one peer, until either side ends it or the principal expires. */
export function serveLines(
  host: ListenerHost,
  { input, output, principal, transport, lastAnswersMs }: LineConnectionOptions,
): LineConnection {
  const wire = new LineTransport(input, output, { ...host, maxBufferedBytes: MAX_BUFFERED_BYTES });
  const clock = host.clock ?? systemClock;
  host.connection(1);
  const served: ServedChannel = serveChannel(
    host.service,
    wire,
    { principal, transport },
    { maxInFlight: host.maxInFlight, onError: (error) => host.onError(error), onEnded: (session) => host.sessionEnded?.(session), clock },
  );
  const close = async () => {
    // A peer that does not read would hold the closing messages up for ever.
    await settledWithin(served.close(), CLOSING_MS, clock);
    await wire.close();
  };
  const cancelExpiry = atTime(clock, principal.expiresAt, () => void close());
  void wire.inputEnded.then(async () => {
    await settledWithin(served.idle(), lastAnswersMs, clock);
    await close();
  });
  const closed = wire.closed.then(() => {
    cancelExpiry();
    host.connection(-1);
  });
  return { closed, idle: () => served.idle(), close };
}
