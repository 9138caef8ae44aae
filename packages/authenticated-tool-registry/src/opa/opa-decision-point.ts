import { ConfigurationError, isJsonObject, type JsonObject } from '@mcp-blocks/core';
import { type DecisionAnswer, type DecisionPoint, type DecisionRequest, policyInput } from '../decision-point.js';
import { answerOf } from './policy-result.js';

/** Options of {@link OpaDecisionPoint}. */
export interface OpaDecisionPointOptions {
  /** Base URL of the OPA server, `http:` or `https:`: `http://127.0.0.1:8181`. */
  readonly url: string;
  /** The rule to ask, as in `data.mcp.authz.allow`: `mcp/authz/allow`. Its value is a boolean, or an object with `allow` and perhaps `reason`. */
  readonly path: string;
  /** Sent with every request, such as `authorization`. Default: none. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Makes the policy's `input`. Default: {@link policyInput}. */
  readonly input?: (request: DecisionRequest) => JsonObject;
  /** Largest response that is read, bytes; an integer from 1. Default: 65,536. */
  readonly maxResponseBytes?: number;
  /** Default: the global `fetch`. */
  readonly fetch?: typeof globalThis.fetch;
}

/**
 * Asks an Open Policy Agent server over its REST Data API (`POST /v1/data/{path}`). Redirects are not
 * followed. How long an answer may take is the registry's `decisionTimeoutMs`.
 */
export class OpaDecisionPoint implements DecisionPoint {
  readonly #endpoint: string;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #input: (request: DecisionRequest) => JsonObject;
  readonly #maxResponseBytes: number;
  readonly #fetch: typeof globalThis.fetch;

  /** @throws ConfigurationError naming the option that is not as documented. */
  constructor({ url, path, headers = {}, input = policyInput, maxResponseBytes = 65_536, fetch }: OpaDecisionPointOptions) {
    if (!URL.canParse(url) || !['http:', 'https:'].includes(new URL(url).protocol)) {
      throw new ConfigurationError('url', `expected an http or https URL, got ${JSON.stringify(url)}`);
    }
    const segments = typeof path === 'string' ? path.split('/') : [''];
    if (segments.some((segment) => ['', '.', '..'].includes(segment))) {
      throw new ConfigurationError('path', `expected a rule such as mcp/authz/allow, got ${JSON.stringify(path)}`);
    }
    if (!Number.isSafeInteger(maxResponseBytes) || maxResponseBytes < 1) {
      throw new ConfigurationError('maxResponseBytes', `expected an integer from 1, got ${maxResponseBytes}`);
    }
    this.#endpoint = `${url.replace(/\/+$/, '')}/v1/data/${segments.map(encodeURIComponent).join('/')}`;
    this.#headers = { ...headers, 'content-type': 'application/json', accept: 'application/json' };
    this.#input = input;
    this.#maxResponseBytes = maxResponseBytes;
    this.#fetch = fetch ?? ((...request) => globalThis.fetch(...request));
  }

  async decide(request: DecisionRequest, signal: AbortSignal): Promise<DecisionAnswer> {
    const body = JSON.stringify({ input: this.#input(request) });
    const response = await this.#fetch(this.#endpoint, { method: 'POST', headers: this.#headers, body, redirect: 'error', signal });
    if (response.status !== 200) {
      await response.body?.cancel();
      throw new Error(`OPA answered ${response.status}`);
    }
    const document: unknown = JSON.parse(await this.#text(response));
    if (!isJsonObject(document)) throw new Error('OPA answered something else than an object');
    return answerOf(document.result);
  }

  async #text(response: Response): Promise<string> {
    const chunks: Uint8Array[] = [];
    let size = 0;
    for await (const chunk of (response.body ?? []) as AsyncIterable<Uint8Array>) {
      size += chunk.length;
      // Leaving the loop cancels the stream.
      if (size > this.#maxResponseBytes) throw new Error(`OPA answered more than ${this.#maxResponseBytes} bytes`);
      chunks.push(chunk);
    }
    const whole = new Uint8Array(size);
    let at = 0;
    for (const chunk of chunks) {
      whole.set(chunk, at);
      at += chunk.length;
    }
    return new TextDecoder().decode(whole);
  }
}
