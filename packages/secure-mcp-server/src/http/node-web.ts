import type { IncomingMessage, ServerResponse } from 'node:http';

/** A web `Request` with the method, URL and headers of a Node request. Its body, read elsewhere, is left out. */
export function toWebRequest(request: IncomingMessage, signal: AbortSignal): Request {
  const headers = new Headers();
  for (const [name, value] of Object.entries(request.headers)) {
    if (value !== undefined && !name.startsWith(':')) headers.set(name, Array.isArray(value) ? value.join(', ') : value);
  }
  const scheme = 'encrypted' in request.socket ? 'https' : 'http';
  return new Request(`${scheme}://${request.headers.host ?? 'localhost'}${request.url ?? '/'}`, {
    method: request.method ?? 'GET',
    headers,
    signal,
  });
}

/** How {@link sendResponse} sends. */
export interface SendOptions {
  /** Asks the client not to reuse the connection. */
  readonly close: boolean;
  /** Headers of every response; the response's own go before them. */
  readonly headers: Readonly<Record<string, string>>;
  /** A stream is cut when more than this many bytes wait for a reader that does not read. */
  readonly maxBufferedBytes: number;
  /** A client that takes nothing of a finished answer for so many milliseconds is cut. */
  readonly writeTimeoutMs: number;
  /** Ends a stream before its end when it aborts. */
  readonly endStream: AbortSignal;
  /** Delays the end of a response whose content is already sent. */
  readonly beforeEnd?: Promise<void>;
}

/** Hop-by-hop headers are Node's business. */
export const NODE_OWNED: ReadonlySet<string> = new Set(['connection', 'keep-alive', 'transfer-encoding', 'content-length']);

/** Sends a web `Response` and resolves when its last byte is handed over or the client is gone. */
export async function sendResponse(target: ServerResponse, response: Response, options: SendOptions): Promise<void> {
  if (target.destroyed) {
    await response.body?.cancel();
    return;
  }
  target.statusCode = response.status;
  for (const [name, value] of Object.entries(options.headers)) target.setHeader(name, value);
  for (const [name, value] of response.headers) if (!NODE_OWNED.has(name)) target.setHeader(name, value);
  if (options.close) target.setHeader('Connection', 'close');
  if (isEventStream(response)) {
    await sendStream(target, response.body as ReadableStream<Uint8Array>, options);
    return;
  }
  const body = response.body === null ? undefined : Buffer.from(await response.arrayBuffer());
  if (body !== undefined) target.setHeader('Content-Length', body.length);
  cutWhenStuck(target, options.writeTimeoutMs);
  if (options.beforeEnd !== undefined) {
    target.write(body ?? '');
    await options.beforeEnd;
    target.end();
  } else if (body === undefined) target.end();
  else target.end(body);
}

export function isEventStream(response: Response): boolean {
  return response.body !== null && (response.headers.get('content-type') ?? '').startsWith('text/event-stream');
}

async function sendStream(target: ServerResponse, body: ReadableStream<Uint8Array>, options: SendOptions): Promise<void> {
  const reader = body.getReader();
  // The SDK's streams do not wait for their reader, so there is no use in waiting for the client here:
  // take everything at once, and cut the client that leaves too much lying.
  const stop = () => void reader.cancel().catch(() => {});
  target.once('close', stop);
  options.endStream.addEventListener('abort', stop, { once: true });
  target.flushHeaders();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done || target.destroyed) break;
      if (target.writableLength > options.maxBufferedBytes) {
        target.destroy();
        break;
      }
      target.write(value);
    }
  } finally {
    target.off('close', stop);
    options.endStream.removeEventListener('abort', stop);
    stop();
    if (!target.destroyed) {
      cutWhenStuck(target, options.writeTimeoutMs);
      target.end();
    }
  }
}

/** Does not wait for ever for a client to take the rest: neither its memory nor its connection would be free again. */
export function cutWhenStuck(target: ServerResponse, timeoutMs: number): void {
  target.setTimeout(timeoutMs, () => target.destroy());
  // Before Node sets the time that an idle connection is kept.
  target.prependOnceListener('finish', () => target.setTimeout(0));
}
