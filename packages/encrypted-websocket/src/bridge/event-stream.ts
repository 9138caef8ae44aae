import { RpcError } from '@mcp-blocks/core';

/** One event of a stream of server-sent events. */
export interface ServerSentEvent {
  readonly data: string;
  /** The last `id` seen in the stream, also where the event itself has no data. */
  readonly id: string | undefined;
  /** Default: `message`. */
  readonly type: string;
}

/** The specification of event streams excludes NUL alone. An id with another one could never be sent back in a header. */
const CONTROL = /(?!\t)\p{Cc}/u;

/** Takes a stream of server-sent events apart (WHATWG HTML, 9.2.6, "Interpreting an event stream"). */
export class EventStreamParser {
  readonly #maxEventBytes: number;
  readonly #decoder = new TextDecoder('utf-8', { fatal: true });
  #line = '';
  #skipLineFeed = false;
  #data: string[] = [];
  #dataBytes = 0;
  #type = '';
  /** The last `id` seen. */
  lastEventId: string | undefined;
  /** The last `retry` seen, in milliseconds. */
  retryMs: number | undefined;

  constructor(maxEventBytes: number) {
    this.#maxEventBytes = maxEventBytes;
  }

  /** @throws RpcError `payload_too_large` for an event over the limit, `upstream_error` for what is not UTF-8. */
  push(chunk: Uint8Array): ServerSentEvent[] {
    let text: string;
    try {
      text = this.#decoder.decode(chunk, { stream: true });
    } catch (cause) {
      throw new RpcError('upstream_error', 'The server sent a stream that is not UTF-8', { cause });
    }
    const events: ServerSentEvent[] = [];
    if (text === '') return events;
    if (this.#skipLineFeed && text.startsWith('\n')) text = text.slice(1);
    this.#skipLineFeed = text.endsWith('\r');
    const lines = text.split(/\r\n|\n|\r/);
    lines[0] = this.#line + lines[0];
    this.#line = lines.pop() ?? '';
    for (const line of lines) {
      const event = this.#take(line);
      if (event !== undefined) events.push(event);
    }
    if (this.#dataBytes + this.#line.length > this.#maxEventBytes + 64) throw this.#tooLarge();
    return events;
  }

  #take(line: string): ServerSentEvent | undefined {
    if (line === '') return this.#dispatch();
    const colon = line.indexOf(':');
    if (colon === 0) return undefined;
    const field = colon === -1 ? line : line.slice(0, colon);
    const value = colon === -1 ? '' : line.slice(line[colon + 1] === ' ' ? colon + 2 : colon + 1);
    if (field === 'data') {
      this.#data.push(value);
      this.#dataBytes += Buffer.byteLength(value) + 1;
      if (this.#dataBytes - 1 > this.#maxEventBytes) throw this.#tooLarge();
    } else if (field === 'event') this.#type = value;
    else if (field === 'id' && !CONTROL.test(value)) this.lastEventId = value;
    else if (field === 'retry' && /^\d{1,9}$/.test(value)) this.retryMs = Number(value);
    return undefined;
  }

  #dispatch(): ServerSentEvent | undefined {
    const event = { data: this.#data.join('\n'), id: this.lastEventId, type: this.#type || 'message' };
    const empty = this.#data.length === 0;
    this.#data = [];
    this.#dataBytes = 0;
    this.#type = '';
    return empty ? undefined : event;
  }

  #tooLarge(): RpcError {
    return new RpcError('payload_too_large', `The server sent an event larger than ${this.#maxEventBytes} bytes`);
  }
}
