import type { JSONRPCMessage, StreamableHTTPClientTransport, Transport, TransportSendOptions } from '@modelcontextprotocol/client';
import { currentResponse, type ResponseRecord } from './bounded-response.js';
import { TransportFailure } from './upstream.js';

/**
 * A transport whose `send` fails when the response stream of a request ends without its response.
 *
 * The SDK's HTTP transport starts to read the stream and returns; a node killed while it streams would
 * leave the request waiting for its timeout.
 */
export class CompleteStreamTransport implements Transport {
  onclose?: () => void;
  onerror?: (error: Error) => void;
  onmessage?: Transport['onmessage'];
  readonly #inner: StreamableHTTPClientTransport;
  readonly #waiting = new Map<string | number, () => void>();

  constructor(inner: StreamableHTTPClientTransport) {
    this.#inner = inner;
    inner.onmessage = (message) => {
      if (!('method' in message) && message.id !== undefined) this.#waiting.get(message.id)?.();
      this.onmessage?.(message);
    };
    inner.onerror = (error) => this.onerror?.(error);
    inner.onclose = () => {
      for (const settle of [...this.#waiting.values()]) settle();
      this.onclose?.();
    };
  }

  get sessionId(): string | undefined {
    return this.#inner.sessionId;
  }

  readonly hasPerRequestStream = true;

  start(): Promise<void> {
    return this.#inner.start();
  }

  /** Gives a legacy session back to the node, which keeps it otherwise. Waits at most a second. */
  async terminateSession(): Promise<void> {
    if (this.#inner.sessionId === undefined) return;
    let timer: ReturnType<typeof setTimeout> | undefined;
    await Promise.race([
      // The node may be gone already.
      this.#inner.terminateSession().catch(() => {}),
      new Promise<void>((resolve) => (timer = setTimeout(resolve, 1000))),
    ]);
    clearTimeout(timer);
  }

  /** Opens the stream of what belongs to no request; over a session's handshake the SDK does it. */
  async openStream(): Promise<void> {
    // A node may have none, or another connection may hold it.
    await this.#inner.resumeStream(undefined as unknown as string).catch(() => {});
  }

  close(): Promise<void> {
    return this.#inner.close();
  }

  setProtocolVersion(version: string): void {
    this.#inner.setProtocolVersion(version);
  }

  async send(message: JSONRPCMessage, options: TransportSendOptions = {}): Promise<void> {
    if (!('method' in message && 'id' in message) || options.onRequestStreamEnd !== undefined) return this.#sendInner(message, options);
    const { id } = message;
    const { requestSignal } = options;
    let answered = false;
    const record: ResponseRecord = {};
    let settle: () => void = () => {};
    const settled = new Promise<void>((resolve) => (settle = resolve));
    this.#waiting.set(id, () => {
      answered = true;
      settle();
    });
    requestSignal?.addEventListener('abort', settle, { once: true });
    try {
      await currentResponse.run(record, () => this.#sendInner(message, { ...options, onRequestStreamEnd: () => settle() }));
      await settled;
      if (!answered && requestSignal?.aborted !== true) {
        throw record.failure ?? new TransportFailure('The node ended the response stream without a response', { delivery: 'unknown' });
      }
    } finally {
      requestSignal?.removeEventListener('abort', settle);
      this.#waiting.delete(id);
    }
  }

  #sendInner(message: JSONRPCMessage, options: TransportSendOptions): Promise<void> {
    return this.#inner.send(message, options as Parameters<StreamableHTTPClientTransport['send']>[1]);
  }
}
