import { isUtf8 } from 'node:buffer';
import type { Readable, Writable } from 'node:stream';
import { JsonRpcParseError, parseJsonRpc, RpcError, toWireError } from '@mcp-blocks/core';
import type { ChannelTransport } from '@mcp-blocks/core/sdk';
import type { JSONRPCMessage, Transport } from '@modelcontextprotocol/server';
import { ByteCollector } from './byte-collector.js';

/** Bounds of a {@link LineTransport}. */
export interface LineTransportLimits {
  /** Longest line read, in bytes. */
  readonly maxMessageBytes: number;
  readonly maxJsonDepth: number;
  /** Bytes that may wait for a peer that does not read before the connection is cut. */
  readonly maxBufferedBytes: number;
}

const NEWLINE = 0x0a;

/**
 * Newline-delimited JSON-RPC over a pair of streams: the framing of MCP's stdio transport, here for Unix
 * sockets too. A line that is no message is answered with a JSON-RPC error and harms no other.
 */
export class LineTransport implements ChannelTransport {
  onclose?: () => void;
  onerror?: (error: Error) => void;
  onmessage?: Transport['onmessage'];
  /** Resolves when the peer has sent its last message; answers to what it sent can still go out. */
  readonly inputEnded: Promise<void>;
  /** Resolves when the connection has ended, from whichever side. */
  readonly closed: Promise<void>;
  readonly #input: Readable;
  readonly #output: Writable;
  readonly #limits: LineTransportLimits;
  #resolveInputEnded: () => void = () => {};
  #resolveClosed: () => void = () => {};
  /** What everybody waits for who has sent since the peer stopped reading: one, however many they are. */
  #drained: Promise<void> | undefined;
  #ended = false;
  #inputOver = false;
  #paused = false;
  /** Read and not yet taken apart. */
  #unread: Buffer[] = [];
  /** The beginning of a line whose end has not come. */
  readonly #partial = new ByteCollector();
  /** Skipping the rest of a line that is too long. */
  #skipping = false;

  constructor(input: Readable, output: Writable, limits: LineTransportLimits) {
    this.#input = input;
    this.#output = output;
    this.#limits = limits;
    this.inputEnded = new Promise((resolve) => {
      this.#resolveInputEnded = resolve;
    });
    this.closed = new Promise((resolve) => {
      this.#resolveClosed = resolve;
    });
  }

  start(): Promise<void> {
    this.#input.on('data', this.#onData).on('end', this.#onEnd).on('close', this.#onEnd).on('error', this.#onError);
    this.#output.on('error', this.#onError).on('close', this.#end);
    return Promise.resolve();
  }

  pause(): void {
    this.#paused = true;
    this.#input.pause();
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#read();
    if (!this.#paused && !this.#ended) this.#input.resume();
  }

  async send(message: JSONRPCMessage): Promise<void> {
    await this.sendText(JSON.stringify(message));
  }

  /** {@link send} for a message that is JSON already. */
  async sendText(text: string): Promise<void> {
    if (this.#ended) throw new RpcError('unavailable', 'The connection is closed');
    if (this.#output.writableLength > this.#limits.maxBufferedBytes) {
      this.#output.destroy();
      throw new RpcError('unavailable', 'The peer does not read what it is sent');
    }
    if (this.#output.write(`${text}\n`)) return;
    // Back-pressure: whoever sends waits until the peer has read.
    this.#drained ??= new Promise((resolve) => {
      const done = () => {
        this.#drained = undefined;
        this.#output.off('drain', done).off('close', done);
        resolve();
      };
      this.#output.once('drain', done).once('close', done);
    });
    await this.#drained;
  }

  close(): Promise<void> {
    this.#end();
    return Promise.resolve();
  }

  readonly #onData = (chunk: Buffer | string): void => {
    this.#unread.push(typeof chunk === 'string' ? Buffer.from(chunk) : chunk);
    this.#read();
  };

  readonly #onEnd = (): void => {
    this.#inputOver = true;
    if (this.#unread.length === 0) this.#resolveInputEnded();
  };

  readonly #onError = (error: Error): void => {
    // The peer hanging up is an end like any other.
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'EPIPE' && code !== 'ECONNRESET') this.onerror?.(error);
    this.#end();
  };

  readonly #end = (): void => {
    if (this.#ended) return;
    this.#ended = true;
    this.#input.off('data', this.#onData).off('end', this.#onEnd).off('close', this.#onEnd).pause();
    this.#output.off('close', this.#end);
    this.#unread = [];
    this.#partial.take();
    this.onclose?.();
    this.#resolveInputEnded();
    this.#resolveClosed();
  };

  #read(): void {
    if (this.#paused || this.#ended) return;
    for (let chunk = this.#unread.shift(); chunk !== undefined; chunk = this.#unread.shift()) {
      const newline = chunk.indexOf(NEWLINE);
      this.#append(newline === -1 ? chunk : chunk.subarray(0, newline));
      if (newline === -1) continue;
      if (newline + 1 < chunk.length) this.#unread.unshift(chunk.subarray(newline + 1));
      this.#finishLine();
      if (this.#paused || this.#ended) return;
    }
    if (this.#inputOver) this.#resolveInputEnded();
  }

  #append(bytes: Buffer): void {
    if (this.#skipping) return;
    if (this.#partial.length + bytes.length <= this.#limits.maxMessageBytes) {
      this.#partial.append(bytes);
      return;
    }
    this.#skipping = true;
    this.#partial.take();
  }

  #finishLine(): void {
    const skipped = this.#skipping;
    const line = this.#partial.take();
    this.#skipping = false;
    const { maxMessageBytes: maxBytes } = this.#limits;
    if (skipped) this.#refuse(new RpcError('payload_too_large', `The message is larger than ${maxBytes} bytes`, { data: { maxBytes } }));
    else this.#receive(line);
  }

  #receive(line: Buffer): void {
    let message: JSONRPCMessage;
    try {
      if (!isUtf8(line)) throw new JsonRpcParseError('parse_error', 'The message is not valid UTF-8');
      const text = line.toString('utf8').trim();
      if (text === '') return;
      message = parseJsonRpc(text, this.#limits) as JSONRPCMessage;
    } catch (error) {
      this.#refuse(error);
      return;
    }
    this.onmessage?.(message);
  }

  #refuse(error: unknown): void {
    const { code, message, data } = toWireError(error);
    // JSON-RPC 2.0 section 5: the id is null where the request's is not known. The SDK's type has no null.
    const id = error instanceof JsonRpcParseError ? error.id : null;
    const response = { jsonrpc: '2.0', id, error: { code, message, ...(data === undefined ? {} : { data }) } };
    this.send(response as never).catch((failure: unknown) => this.onerror?.(failure as Error));
  }
}
