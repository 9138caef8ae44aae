import type { Endpoint } from './http-call.ts';

/**
 * How a server is asked: `modern` in revision 2026-07-28, `stateless` in 2025-11-25 without a session,
 * `session` in 2025-11-25 with a session for each connection.
 */
export type Way = 'modern' | 'stateless' | 'session';

export const PROTOCOL_VERSION: Readonly<Record<Way, string>> = { modern: '2026-07-28', stateless: '2025-11-25', session: '2025-11-25' };

/** The way, for tables. */
export const WAY_TITLE: Readonly<Record<Way, string>> = {
  modern: '2026-07-28',
  stateless: '2025-11-25 stateless',
  session: '2025-11-25 session',
};

/** Who asks. */
export interface Caller {
  /** Value of the `Authorization` header; absent: none is sent. */
  readonly authorization?: string | undefined;
  /** The caller's session, for the way `session`. */
  readonly sessionId?: string | undefined;
}

/** Every request has a number of its own, with this many digits, so that the length never changes. */
const FIRST_NUMBER = 10_000_000;
const LAST_NUMBER = 99_999_999;
const DIGITS = 8;

/** Headers every contender's endpoint needs for a call of the echo tool. */
export function callHeaders(way: Way, { authorization, sessionId }: Caller = {}): Record<string, string> {
  return {
    'content-type': 'application/json',
    accept: 'application/json, text/event-stream',
    'mcp-protocol-version': PROTOCOL_VERSION[way],
    ...(way === 'modern' ? { 'mcp-method': 'tools/call', 'mcp-name': 'echo' } : {}),
    ...(sessionId === undefined ? {} : { 'mcp-session-id': sessionId }),
    ...(authorization === undefined ? {} : { authorization }),
  };
}

/** The JSON-RPC message that calls the echo tool. */
export function callMessage(way: Way, id: number, text: string): object {
  return {
    jsonrpc: '2.0',
    id,
    method: 'tools/call',
    params: {
      name: 'echo',
      arguments: { text },
      ...(way === 'modern'
        ? {
            _meta: {
              'io.modelcontextprotocol/protocolVersion': PROTOCOL_VERSION.modern,
              'io.modelcontextprotocol/clientInfo': { name: 'bench', version: '1.0.0' },
              'io.modelcontextprotocol/clientCapabilities': {},
            },
          }
        : {}),
    },
  };
}

export function echoedText(number: number): string {
  return `message ${number} of the benchmark`;
}

/**
 * Writes one connection's requests: the same bytes each time, except for the number, which is both the
 * JSON-RPC id and part of the echoed text. So nothing can pass for an answer that is not this request's.
 */
export class EchoRequestWriter {
  readonly #bytes: Buffer;
  readonly #offsets: readonly number[];

  constructor({ host, port, path }: Endpoint, way: Way, caller: Caller) {
    const body = JSON.stringify(callMessage(way, FIRST_NUMBER, echoedText(FIRST_NUMBER)));
    const headers = { host: `${host}:${port}`, ...callHeaders(way, caller), 'content-length': String(Buffer.byteLength(body)) };
    const head = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
    this.#bytes = Buffer.from(`POST ${path} HTTP/1.1\r\n${head.join('')}\r\n${body}`, 'latin1');
    const offsets: number[] = [];
    const bodyStart = this.#bytes.length - body.length;
    for (let at = bodyStart; (at = this.#bytes.indexOf(String(FIRST_NUMBER), at, 'latin1')) !== -1; at += DIGITS) offsets.push(at);
    this.#offsets = offsets;
  }

  /** The request with this number. The buffer is reused: send it before asking for the next. */
  write(number: number): Buffer {
    writeDigits(this.#bytes, this.#offsets, number);
    return this.#bytes;
  }
}

/** Puts a number's digits at each of the offsets. */
export function writeDigits(bytes: Buffer, offsets: readonly number[], number: number): void {
  for (const offset of offsets) {
    let rest = number;
    for (let at = offset + DIGITS - 1; at >= offset; at -= 1) {
      const next = Math.floor(rest / 10);
      bytes[at] = 48 + rest - 10 * next;
      rest = next;
    }
  }
}

/** Numbers for the requests of one run, shared by its connections. */
export class RequestNumbers {
  #next = FIRST_NUMBER;

  next(): number {
    if (this.#next === LAST_NUMBER) this.#next = FIRST_NUMBER;
    return this.#next++;
  }
}
