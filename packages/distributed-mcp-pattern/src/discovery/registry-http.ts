import { Agent as HttpAgent, type IncomingMessage, request as requestHttp } from 'node:http';
import { Agent as HttpsAgent, request as requestHttps } from 'node:https';
import { ConfigurationError, RpcError } from '@mcp-blocks/core';
import { z } from 'zod';
import { positiveOrNone } from '../option-schemas.js';

/** TLS towards a registry. PEM text or bytes. The registry's certificate is always verified. */
export interface RegistryTls {
  /** Certificates to trust instead of the system's. */
  readonly ca?: string | Buffer;
  /** The client's own certificate, where the registry wants one, with its `key`. */
  readonly cert?: string | Buffer;
  readonly key?: string | Buffer;
}

/** Where a registry is and how it is spoken to. */
export interface RegistryHttpOptions {
  /** `http://…` or `https://…`; the next one is tried when one does not answer. */
  readonly endpoints: readonly string[];
  readonly tls?: RegistryTls;
  /** Sent with every request. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Milliseconds one request may take. Default: 5,000. */
  readonly requestTimeoutMs?: number;
}

const pem = z.union([z.string(), z.instanceof(Uint8Array)], 'expected PEM text or bytes').optional();

/** Schemas of {@link RegistryHttpOptions}, for the drivers. `RegistryHttp` looks into `endpoints` itself. */
export const registryHttpOptions = {
  endpoints: z.array(z.string(), 'expected a list of URLs'),
  tls: z.strictObject({ ca: pem, cert: pem, key: pem }).optional(),
  headers: z.record(z.string(), z.string()).optional(),
  requestTimeoutMs: positiveOrNone,
};

/** One request to a registry. */
export interface RegistryRequest {
  readonly method?: 'GET' | 'POST' | 'PUT';
  /** Path and query. */
  readonly path: string;
  /** Sent as JSON. */
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal | undefined;
  /** Beyond `requestTimeoutMs`, for a request the registry answers late on purpose. */
  readonly extraTimeMs?: number;
}

/** An answer with a status of 2xx. */
export interface RegistryAnswer {
  readonly headers: Readonly<IncomingMessage['headers']>;
  /** The body, parsed; `undefined` if there is none. */
  readonly body: unknown;
}

/** A registry's answer with another status than 2xx. */
export class RegistryRefusal extends Error {
  override readonly name = 'RegistryRefusal';
  readonly status: number;

  constructor(registry: string, path: string, status: number, body: string) {
    // The query may hold what the operator put there; the path is ours.
    super(`${registry} answered ${path.replace(/\?.*/s, '')} with HTTP ${status}: ${body.slice(0, 200)}`);
    this.status = status;
  }
}

/** A registry that answers with more than this is broken or hostile. */
const MAX_BODY_BYTES = 16 * 1024 * 1024;

/** JSON over HTTP to the members of a registry, one at a time, with failover. Redirects are not followed. */
export class RegistryHttp {
  readonly #name: string;
  readonly #endpoints: readonly URL[];
  readonly #options: RegistryHttpOptions;
  readonly #http = new HttpAgent({ keepAlive: true });
  readonly #https: HttpsAgent;
  #current = 0;

  /**
   * @param name - of the registry, for messages.
   * @throws ConfigurationError when there is no endpoint, or one is not an http(s) URL or holds a credential.
   */
  constructor(name: string, options: RegistryHttpOptions) {
    if (options.endpoints.length === 0) throw new ConfigurationError('endpoints', `expected at least one URL of ${name}`);
    this.#name = name;
    this.#endpoints = options.endpoints.map((text, index) => {
      const url = URL.parse(text);
      if (url === null || !/^https?:$/.test(url.protocol)) {
        throw new ConfigurationError(`endpoints[${index}]`, `expected an http or https URL, got '${text}'`);
      }
      if (url.username !== '' || url.password !== '') throw new ConfigurationError(`endpoints[${index}]`, 'holds a credential');
      return url;
    });
    this.#options = options;
    const { ca, cert, key } = options.tls ?? {};
    this.#https = new HttpsAgent({
      keepAlive: true,
      rejectUnauthorized: true,
      minVersion: 'TLSv1.2',
      ...(ca === undefined ? {} : { ca }),
      ...(cert === undefined ? {} : { cert }),
      ...(key === undefined ? {} : { key }),
    });
  }

  /**
   * Asks the members in turn until one answers.
   *
   * @throws RegistryRefusal when a member answers with 4xx; RpcError `unavailable` when none answers as expected.
   */
  async request(request: RegistryRequest): Promise<RegistryAnswer> {
    const { requestTimeoutMs = 5_000 } = this.#options;
    const timeout = AbortSignal.timeout(requestTimeoutMs + (request.extraTimeMs ?? 0));
    const signal = request.signal === undefined ? timeout : AbortSignal.any([timeout, request.signal]);
    let failure: unknown;
    for (let tries = 0; tries < this.#endpoints.length; tries += 1) {
      try {
        const response = await this.open({ ...request, signal });
        const text = await textOf(response);
        return { headers: response.headers, body: text.trim() === '' ? undefined : JSON.parse(text) };
      } catch (error) {
        if (error instanceof RegistryRefusal && error.status < 500) throw error;
        if (request.signal?.aborted) throw error;
        failure = error;
      }
    }
    throw new RpcError('unavailable', `The ${this.#name} registry does not answer`, { cause: failure });
  }

  /**
   * Asks the current member and resolves with its answer still to be read; whoever fails makes the next
   * request go to the next member.
   *
   * @throws RegistryRefusal for an answer that is not 2xx; the network's error.
   */
  async open(request: RegistryRequest): Promise<IncomingMessage> {
    try {
      const response = await this.#send(request);
      const status = response.statusCode ?? 0;
      if (status >= 200 && status < 300) return response;
      throw new RegistryRefusal(this.#name, request.path, status, await textOf(response));
    } catch (error) {
      this.#current += 1;
      throw error;
    }
  }

  /** Ends idle connections. */
  close(): void {
    this.#http.destroy();
    this.#https.destroy();
  }

  #send({ method = 'GET', path, body, headers, signal }: RegistryRequest): Promise<IncomingMessage> {
    const endpoint = this.#endpoints[this.#current % this.#endpoints.length] as URL;
    const url = new URL(endpoint.pathname.replace(/\/$/, '') + path, endpoint);
    const secure = url.protocol === 'https:';
    const content = body === undefined ? undefined : JSON.stringify(body);
    return new Promise((resolve, reject) => {
      const outgoing = (secure ? requestHttps : requestHttp)(url, {
        method,
        agent: secure ? this.#https : this.#http,
        headers: {
          accept: 'application/json',
          ...(content === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(content) }),
          ...this.#options.headers,
          ...headers,
        },
        ...(signal === undefined ? {} : { signal }),
      });
      outgoing.once('error', reject);
      outgoing.once('response', resolve);
      outgoing.end(content);
    });
  }
}

/** Lines of an answer as they come. */
export async function* linesOf(response: IncomingMessage): AsyncGenerator<string> {
  let rest = '';
  response.setEncoding('utf8');
  for await (const chunk of response as AsyncIterable<string>) {
    const parts = (rest + chunk).split('\n');
    rest = parts.pop() ?? '';
    if (rest.length > MAX_BODY_BYTES) throw new Error('The registry sent a line without end');
    for (const line of parts) if (line !== '') yield line;
  }
}

async function textOf(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MAX_BODY_BYTES) throw new Error('The registry answered with too much');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}
