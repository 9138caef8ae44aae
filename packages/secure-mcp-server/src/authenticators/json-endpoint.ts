import { type Clock, ConfigurationError, isJsonObject, type JsonObject } from '@mcp-blocks/core';
import { isLoopbackAddress } from '@mcp-blocks/core/node';
import { integerOption } from '../options.js';

/** Bounds on asking an authorization server. */
export interface EndpointOptions {
  /** `https:`, or `http:` on a loopback address. Redirects are not followed. */
  readonly url: string;
  /** Milliseconds until an answer must be complete. Default: 5 000. */
  readonly timeoutMs?: number;
  /** Largest answer taken, in bytes. Default: 262 144 (256 KiB). */
  readonly maxBytes?: number;
  /** Sends the requests. Default: the global `fetch`. */
  readonly fetch?: typeof fetch;
}

/** One URL of an authorization server that answers in JSON. */
export class JsonEndpoint {
  readonly #url: string;
  readonly #timeoutMs: number;
  readonly #maxBytes: number;
  readonly #fetch: typeof fetch;
  readonly #clock: Clock;

  /** @throws ConfigurationError naming the option below `path`. */
  constructor(path: string, options: EndpointOptions, clock: Clock) {
    this.#url = safeUrl(`${path}.url`, options.url);
    this.#timeoutMs = integerOption(`${path}.timeoutMs`, options.timeoutMs, { fallback: 5000, max: 60_000 });
    this.#maxBytes = integerOption(`${path}.maxBytes`, options.maxBytes, { fallback: 256 * 1024, max: 16 * 1024 * 1024 });
    this.#fetch = options.fetch ?? ((input, init) => globalThis.fetch(input, init));
    this.#clock = clock;
  }

  /** Rejects for every answer but a JSON object with status 200 that is within the bounds. */
  async ask(init: RequestInit): Promise<JsonObject> {
    const late = new AbortController();
    const cancel = this.#clock.setTimeout(() => late.abort(new Error(`no answer within ${this.#timeoutMs} ms`)), this.#timeoutMs);
    try {
      const response = await this.#fetch(this.#url, { ...init, redirect: 'error', signal: late.signal });
      if (response.status !== 200) {
        await response.body?.cancel();
        throw new Error(`status ${response.status}`);
      }
      const value: unknown = JSON.parse(await this.#read(response));
      if (!isJsonObject(value)) throw new Error('the answer is not a JSON object');
      return value;
    } catch (cause) {
      // The reason of an abort is more telling than what fetch makes of it.
      throw new Error(`${this.#url}: ${((late.signal.reason ?? cause) as Error).message}`, { cause });
    } finally {
      cancel();
    }
  }

  async #read(response: Response): Promise<string> {
    const chunks: Uint8Array[] = [];
    let bytes = 0;
    for await (const chunk of response.body ?? []) {
      bytes += chunk.byteLength;
      if (bytes > this.#maxBytes) throw new Error(`the answer is larger than ${this.#maxBytes} bytes`);
      chunks.push(chunk);
    }
    return Buffer.concat(chunks).toString();
  }
}

/** @throws ConfigurationError unless `value` is a URL that credentials and keys may travel to and from. */
export function safeUrl(option: string, value: string): string {
  const url = URL.parse(value);
  const loopback = url !== null && isLoopbackAddress(url.hostname.replace(/^\[|\]$/g, ''));
  if (url === null || !(url.protocol === 'https:' || (url.protocol === 'http:' && loopback))) {
    throw new ConfigurationError(option, `expected an https: URL (http: on a loopback address only), got '${String(value)}'`);
  }
  if (url.username !== '' || url.password !== '') throw new ConfigurationError(option, 'expected a URL without credentials in it');
  return url.href;
}
