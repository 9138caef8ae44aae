import { isUtf8 } from 'node:buffer';
import type { Readable, Writable } from 'node:stream';
import { type Clock, type JsonRpcMessage, JsonRpcParseError, parseJsonRpc, RpcError, sleep } from '@mcp-blocks/core';
import { errorResponse } from './pending-request.js';

/** Options of {@link HostStream}. */
export interface HostStreamOptions {
  readonly input: Readable;
  readonly output: Writable;
  /** Longest line read, in bytes. */
  readonly maxMessageBytes: number;
  readonly maxJsonDepth: number;
  readonly clock: Clock;
  /** One message of the host. The next is read when the promise resolves, or after five seconds. */
  onMessage(message: JsonRpcMessage): Promise<void>;
  /** The host has sent its last message. */
  onEnd(): void;
  /** The host reads no more. */
  onBroken(): void;
}

const NEWLINE = 0x0a;

/** Reading goes on after this long whatever happens, so that the host's end is noticed. */
const MAX_PAUSE_MS = 5_000;

/** Most bytes that wait for a host that does not read. */
const MAX_UNREAD_BYTES = 64 * 1024 * 1024;

/** The host's end: MCP's stdio framing. A line that is no message is answered with an error and harms no other. */
export class HostStream {
  readonly #options: HostStreamOptions;
  #partial: Buffer[] = [];
  #partialBytes = 0;
  #broken = false;
  #drained: Promise<void> | undefined;

  constructor(options: HostStreamOptions) {
    this.#options = options;
  }

  start(): void {
    const { output } = this.#options;
    output.on('error', () => this.#break()).on('close', () => this.#break());
    this.#read().then(
      () => this.#options.onEnd(),
      () => this.#options.onEnd(),
    );
  }

  /** Gives the host a message; a promise is returned while it does not read. */
  write(message: object): Promise<void> | undefined {
    const { output } = this.#options;
    if (this.#broken) return undefined;
    if (output.writableLength > MAX_UNREAD_BYTES) this.#break();
    else if (!output.write(`${JSON.stringify(message)}\n`)) {
      this.#drained ??= this.#drain();
      return this.#drained;
    }
    return undefined;
  }

  /** One for all that wait: with listeners of their own, thousands of messages would take minutes to let go. */
  #drain(): Promise<void> {
    const { output } = this.#options;
    return new Promise((resolve) => {
      const done = () => {
        output.off('drain', done).off('close', done);
        this.#drained = undefined;
        resolve();
      };
      output.once('drain', done).once('close', done);
    });
  }

  async #read(): Promise<void> {
    for await (const chunk of this.#options.input as AsyncIterable<Buffer>) {
      let rest: Buffer = chunk;
      for (let end = rest.indexOf(NEWLINE); end !== -1; end = rest.indexOf(NEWLINE)) {
        this.#append(rest.subarray(0, end));
        rest = rest.subarray(end + 1);
        await this.#line();
      }
      this.#append(rest);
    }
  }

  #append(bytes: Buffer): void {
    this.#partialBytes += bytes.byteLength;
    if (this.#partialBytes > this.#options.maxMessageBytes) this.#partial = [];
    else this.#partial.push(bytes);
  }

  async #line(): Promise<void> {
    const { maxMessageBytes: maxBytes, clock, onMessage } = this.#options;
    const tooLong = this.#partialBytes > maxBytes;
    const line = Buffer.concat(this.#partial);
    this.#partial = [];
    this.#partialBytes = 0;
    try {
      if (tooLong) throw new RpcError('payload_too_large', `The message is larger than ${maxBytes} bytes`, { data: { maxBytes } });
      const message = this.#parse(line);
      if (message === undefined) return;
      const resumed = new AbortController();
      const pause = sleep(clock, MAX_PAUSE_MS, resumed.signal).catch(() => {});
      await Promise.race([onMessage(message), pause]);
      resumed.abort();
    } catch (error) {
      await this.write(errorResponse(error instanceof JsonRpcParseError ? error.id : null, error));
    }
  }

  #parse(line: Buffer): JsonRpcMessage | undefined {
    if (!isUtf8(line)) throw new JsonRpcParseError('parse_error', 'The message is not valid UTF-8');
    const text = line.toString().trim();
    return text === '' ? undefined : parseJsonRpc(text, this.#options);
  }

  #break(): void {
    if (this.#broken) return;
    this.#broken = true;
    this.#options.onBroken();
  }
}
