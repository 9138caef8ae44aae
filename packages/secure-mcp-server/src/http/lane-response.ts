import { type ServerResponse, validateHeaderName, validateHeaderValue } from 'node:http';
import { type CancelTimer, type Clock, type JsonRpcNotification, RpcError } from '@mcp-blocks/core';
import type { LaneAnswer, LaneCarrier } from '@mcp-blocks/core/sdk';
import { cutWhenStuck, NODE_OWNED } from './node-web.js';

/** How a {@link LaneResponse} is sent. */
export interface LaneResponseOptions {
  /** Headers of every response; its own go before them. */
  readonly headers: () => Readonly<Record<string, string>>;
  /** Whether the client is asked not to reuse the connection. */
  readonly isLast: () => boolean;
  /** A stream is cut when more than this many bytes wait for a reader that does not read. */
  readonly maxBufferedBytes: number;
  /** A client that takes nothing of a finished answer for so many milliseconds is cut. */
  readonly writeTimeoutMs: number;
  readonly clock: Clock;
}

const EVENT_STREAM = ['content-type', 'text/event-stream', 'cache-control', 'no-cache, no-transform', 'x-accel-buffering', 'no'];

const IN_TURN = new WeakMap<Readonly<Record<string, string>>, readonly string[]>();

/** Names and values in turn. */
function inTurn(headers: Readonly<Record<string, string>>): readonly string[] {
  const known = IN_TURN.get(headers) ?? Object.entries(headers).flat();
  IN_TURN.set(headers, known);
  return known;
}

/** Proxies take a stream for dead on which nothing comes. */
const KEEP_ALIVE_MS = 15_000;

/** The response to one call of the fast lane: one JSON message, or an event stream from the first notification on. */
export class LaneResponse implements LaneCarrier {
  readonly #response: ServerResponse;
  readonly #options: LaneResponseOptions;
  #added: Map<string, string> | undefined;
  #cancelKeepAlive: CancelTimer | undefined;
  #isOver = false;

  constructor(response: ServerResponse, options: LaneResponseOptions) {
    this.#response = response;
    this.#options = options;
  }

  /** Adds a header, beside values it has already; without effect once the response has begun. */
  readonly addHeader = (name: string, value: string): void => {
    validateHeaderName(name);
    validateHeaderValue(name, value);
    const added = (this.#added ??= new Map<string, string>());
    const key = name.toLowerCase();
    const before = added.get(key);
    added.set(key, before === undefined || key === 'set-cookie' ? value : `${before}, ${value}`);
  };

  notify(message: JsonRpcNotification): Promise<void> {
    if (this.#isOver) return Promise.reject(new RpcError('unavailable', 'The request is over'));
    if (!this.#response.headersSent) {
      this.#begin(200, EVENT_STREAM);
      this.#response.flushHeaders();
      this.#keepAlive();
    }
    this.#frame(`event: message\ndata: ${JSON.stringify(message)}\n\n`);
    return Promise.resolve();
  }

  /** Whether the event stream has begun. */
  get hasBegun(): boolean {
    return this.#response.headersSent;
  }

  /** Sends the answer. Without one the stream, which has begun, just ends. */
  end(answer: LaneAnswer | undefined): void {
    this.#isOver = true;
    this.#cancelKeepAlive?.();
    const response = this.#response;
    if (response.destroyed) return;
    if (response.headersSent) {
      if (answer !== undefined) this.#frame(`event: message\ndata: ${answer.text}\n\n`);
      response.end();
    } else if (answer !== undefined) {
      const { text, httpStatus, failure } = answer;
      this.#begin(httpStatus, ['content-type', 'application/json', 'content-length', String(Buffer.byteLength(text))], failure?.headers);
      response.end(text);
    }
    // Mostly the kernel has taken it all by now.
    if (!response.writableFinished) cutWhenStuck(response, this.#options.writeTimeoutMs);
  }

  #begin(status: number, own: readonly string[], further?: Readonly<Record<string, string>>): void {
    const base = this.#options.headers();
    const isLast = this.#options.isLast();
    // Names and values in turn are what Node writes fastest; whatever is said twice has to be looked at.
    if (own === EVENT_STREAM || further !== undefined || isLast || !this.#addsOnlyTo(base)) {
      const headers: Record<string, string> = { ...base };
      for (let index = 0; index < own.length; index += 2) headers[own[index] as string] = own[index + 1] as string;
      for (const [name, value] of [...(this.#added ?? []), ...Object.entries(further ?? {})]) {
        if (!NODE_OWNED.has(name.toLowerCase())) headers[name.toLowerCase()] = value;
      }
      if (isLast) headers.connection = 'close';
      this.#response.writeHead(status, headers);
      return;
    }
    const headers = [...inTurn(base), ...own];
    if (this.#added !== undefined) for (const [name, value] of this.#added) headers.push(name, value);
    this.#response.writeHead(status, headers);
  }

  /** Whether what was added has names that nothing else has. */
  #addsOnlyTo(base: Readonly<Record<string, string>>): boolean {
    if (this.#added === undefined) return true;
    for (const name of this.#added.keys()) if (NODE_OWNED.has(name) || name === 'content-type' || Object.hasOwn(base, name)) return false;
    return true;
  }

  #frame(text: string): void {
    const response = this.#response;
    if (response.destroyed) return;
    if (response.writableLength > this.#options.maxBufferedBytes) response.destroy();
    else response.write(text);
  }

  #keepAlive(): void {
    this.#cancelKeepAlive = this.#options.clock.setTimeout(() => {
      this.#frame(': keepalive\n\n');
      this.#keepAlive();
    }, KEEP_ALIVE_MS);
  }
}
