/** A response as it came, its body in one piece. */
export interface HttpResponse {
  readonly status: number;
  readonly contentType: string;
  readonly body: string;
  /** The server will close this connection. */
  readonly lastOnConnection: boolean;
}

const CR = 13;
const LF = 10;
const HEAD_END = Buffer.from('\r\n\r\n');

/**
 * Reads the responses of one HTTP/1.1 connection, one at a time: a body of known length or in chunks, which
 * is all that a keep-alive connection allows. Reads as little as it can: the generator has to be faster
 * than the fastest server.
 *
 * @throws Error when the bytes are not such a response.
 */
export class HttpResponseReader {
  #pending: Buffer | undefined;

  /** Whether a part of a response has come, and not all. */
  get isWithin(): boolean {
    return this.#pending !== undefined;
  }

  /** Takes what arrived; answers the response once it is whole. */
  feed(chunk: Buffer): HttpResponse | undefined {
    const bytes = this.#pending === undefined ? chunk : Buffer.concat([this.#pending, chunk]);
    this.#pending = bytes;
    const headEnd = bytes.indexOf(HEAD_END);
    if (headEnd === -1) return undefined;
    const head = bytes.toString('latin1', 0, headEnd);
    if (!head.startsWith('HTTP/1.1 ')) throw new Error(`not an HTTP/1.1 response: ${JSON.stringify(head.slice(0, 40))}`);
    const bodyStart = headEnd + HEAD_END.length;
    const length = header(head, 'content-length');
    const body = length === undefined ? chunkedBody(head, bytes, bodyStart) : sizedBody(bytes, bodyStart, Number(length));
    if (body === undefined) return undefined;
    if (body.end !== bytes.length) throw new Error('bytes after the end of the response');
    this.#pending = undefined;
    return {
      status: Number(head.slice(9, 12)),
      contentType: header(head, 'content-type') ?? '',
      body: body.text,
      lastOnConnection: header(head, 'connection')?.toLowerCase() === 'close',
    };
  }
}

interface Body {
  readonly text: string;
  readonly end: number;
}

function sizedBody(bytes: Buffer, start: number, length: number): Body | undefined {
  const end = start + length;
  return bytes.length < end ? undefined : { text: bytes.toString('utf8', start, end), end };
}

function chunkedBody(head: string, bytes: Buffer, start: number): Body | undefined {
  if (header(head, 'transfer-encoding')?.toLowerCase() !== 'chunked') {
    const status = Number(head.slice(9, 12));
    if (status === 204 || status === 304) return { text: '', end: start };
    throw new Error('a response with neither content-length nor chunks');
  }
  const chunks: Buffer[] = [];
  for (let at = start; ; ) {
    const sizeEnd = bytes.indexOf('\r\n', at, 'latin1');
    if (sizeEnd === -1) return undefined;
    const size = Number.parseInt(bytes.toString('latin1', at, sizeEnd), 16);
    if (Number.isNaN(size)) throw new Error('a chunk without a size');
    const chunkStart = sizeEnd + 2;
    // Two bytes more: the line end after the chunk, or after the (empty) trailers.
    const next = chunkStart + size + 2;
    if (bytes.length < next) return undefined;
    if (bytes[next - 2] !== CR || bytes[next - 1] !== LF) throw new Error('a chunk of another size than it says');
    if (size === 0) return { text: Buffer.concat(chunks).toString('utf8'), end: next };
    chunks.push(bytes.subarray(chunkStart, chunkStart + size));
    at = next;
  }
}

const PATTERNS = new Map<string, RegExp>();

function header(head: string, name: string): string | undefined {
  let pattern = PATTERNS.get(name);
  if (pattern === undefined) PATTERNS.set(name, (pattern = new RegExp(`\\r\\n${name}: *([^\\r]*)`, 'i')));
  return pattern.exec(head)?.[1];
}
