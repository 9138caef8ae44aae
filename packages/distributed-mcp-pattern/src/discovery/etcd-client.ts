import { ConfigurationError, RpcError } from '@mcp-blocks/core';
import { z } from 'zod';

/** A key with its value, as text. */
export interface EtcdEntry {
  readonly key: string;
  readonly value: string;
}

/** One change of an entry; without a value it was removed. */
export interface EtcdChange {
  readonly key: string;
  readonly value: string | undefined;
}

/** One message of a watch. */
export type EtcdWatchMessage =
  | { readonly kind: 'opened' }
  /** What changed, oldest first; the last of it in `revision`. */
  | { readonly kind: 'changes'; readonly revision: bigint; readonly changes: readonly EtcdChange[] }
  /** The history the watch needs is gone. */
  | { readonly kind: 'compacted' };

/** Options of {@link EtcdClient}. */
export interface EtcdClientOptions {
  /** URLs of the members, such as `http://127.0.0.1:2379`; the next one is tried when one does not answer. */
  readonly endpoints: readonly string[];
  /** Sent with every request. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Milliseconds one request may take. Default: 5,000. */
  readonly requestTimeoutMs?: number;
}

// 64-bit integers are strings in protobuf's JSON; a field with its default value is left out.
const int64 = z.string().regex(/^-?\d+$/);
const header = z.object({ revision: int64 });
const rawEntry = z.object({ key: z.string(), value: z.string().default(''), mod_revision: int64.default('0') });
const rangeResponse = z.object({ header, kvs: z.array(rawEntry).default([]) });
const grantResponse = z.object({ ID: int64, TTL: int64 });
const keepAliveResponse = z.object({ result: z.object({ TTL: int64.default('0') }) });
const watchResponse = z.object({
  result: z.object({
    canceled: z.boolean().default(false),
    cancel_reason: z.string().default(''),
    compact_revision: int64.default('0'),
    events: z.array(z.object({ type: z.enum(['PUT', 'DELETE']).default('PUT'), kv: rawEntry })).default([]),
  }),
});

/**
 * The part of etcd's v3 API that service discovery needs, over its JSON gateway (etcd documentation,
 * "gRPC gateway"). Rejects with `RpcError` `unavailable` when no member answers as expected.
 */
export class EtcdClient {
  readonly #options: EtcdClientOptions;
  #current = 0;

  /** @throws ConfigurationError when there is no endpoint, or one is not an http(s) URL. */
  constructor(options: EtcdClientOptions) {
    if (options.endpoints.length === 0) throw new ConfigurationError('endpoints', 'expected at least one URL of an etcd member');
    for (const [index, url] of options.endpoints.entries()) {
      if (!/^https?:$/.test(URL.parse(url)?.protocol ?? '')) {
        throw new ConfigurationError(`endpoints[${index}]`, `expected an http or https URL, got '${url}'`);
      }
    }
    this.#options = options;
  }

  /** Every entry whose key begins with `prefix`, and the store's revision they are true of. */
  async list(prefix: string, signal?: AbortSignal): Promise<{ readonly revision: bigint; readonly entries: readonly EtcdEntry[] }> {
    const body = { key: encode(prefix), range_end: encode(prefixEnd(prefix)) };
    const { header, kvs } = rangeResponse.parse(await this.#post('/v3/kv/range', body, signal));
    return { revision: BigInt(header.revision), entries: kvs.map(decodeEntry) };
  }

  /** Writes an entry that goes with its lease. */
  async put(key: string, value: string, lease: string): Promise<void> {
    await this.#post('/v3/kv/put', { key: encode(key), value: encode(value), lease });
  }

  /** A new lease of about `ttlSeconds`; etcd may make it longer. */
  async grantLease(ttlSeconds: number): Promise<{ readonly id: string; readonly ttlMs: number }> {
    const { ID, TTL } = grantResponse.parse(await this.#post('/v3/lease/grant', { TTL: String(ttlSeconds), ID: '0' }));
    return { id: ID, ttlMs: Number(TTL) * 1000 };
  }

  /** Renews a lease; resolves with whether it still existed. */
  async keepLeaseAlive(id: string, signal?: AbortSignal): Promise<boolean> {
    const { result } = keepAliveResponse.parse(await this.#post('/v3/lease/keepalive', { ID: id }, signal));
    return Number(result.TTL) > 0;
  }

  /** Ends a lease and removes its entries. */
  async revokeLease(id: string): Promise<void> {
    await this.#post('/v3/lease/revoke', { ID: id });
  }

  /** Follows changes under `prefix` from `fromRevision` on, until the connection ends or `signal` aborts. */
  async *watch(prefix: string, fromRevision: bigint, signal: AbortSignal): AsyncGenerator<EtcdWatchMessage> {
    const create_request = { key: encode(prefix), range_end: encode(prefixEnd(prefix)), start_revision: String(fromRevision) };
    const response = await this.#fetch('/v3/watch', { create_request }, signal);
    for await (const line of lines(response.body)) {
      const { result } = watchResponse.parse(JSON.parse(line));
      if (result.compact_revision !== '0') return yield { kind: 'compacted' };
      if (result.canceled) throw new Error(`etcd ended the watch: ${result.cancel_reason}`);
      const last = result.events.at(-1);
      // The header's revision is not used: it may be ahead of changes still to come.
      yield last === undefined
        ? { kind: 'opened' }
        : {
            kind: 'changes',
            revision: BigInt(last.kv.mod_revision),
            changes: result.events.map(({ type, kv }) => ({ key: decode(kv.key), value: type === 'PUT' ? decode(kv.value) : undefined })),
          };
    }
  }

  async #post(path: string, body: unknown, signal?: AbortSignal): Promise<unknown> {
    const timeout = AbortSignal.timeout(this.#options.requestTimeoutMs ?? 5_000);
    let failure: unknown;
    for (let tries = 0; tries < this.#options.endpoints.length; tries += 1) {
      try {
        const response = await this.#fetch(path, body, signal === undefined ? timeout : AbortSignal.any([timeout, signal]));
        return await response.json();
      } catch (error) {
        failure = error;
      }
    }
    throw new RpcError('unavailable', 'The etcd registry does not answer', { cause: failure });
  }

  /** Asks the current member; moves on to the next one for the request after a failure. */
  async #fetch(path: string, body: unknown, signal: AbortSignal): Promise<Response> {
    const { endpoints, headers } = this.#options;
    const endpoint = endpoints[this.#current % endpoints.length] as string;
    try {
      const response = await fetch(new URL(path, endpoint), {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...headers },
        body: JSON.stringify(body),
        signal,
      });
      if (response.ok) return response;
      throw new Error(`etcd answered ${path} with HTTP ${response.status}: ${(await response.text()).slice(0, 200)}`);
    } catch (error) {
      this.#current += 1;
      throw error;
    }
  }
}

/** The end of the range of all keys that begin with `prefix`: its last byte plus one. Our prefixes end in `/`. */
function prefixEnd(prefix: string): string {
  return prefix.slice(0, -1) + String.fromCharCode(prefix.charCodeAt(prefix.length - 1) + 1);
}

function encode(text: string): string {
  return Buffer.from(text).toString('base64');
}

function decode(base64: string): string {
  return Buffer.from(base64, 'base64').toString();
}

function decodeEntry({ key, value }: { readonly key: string; readonly value: string }): EtcdEntry {
  return { key: decode(key), value: decode(value) };
}

async function* lines(body: ReadableStream<Uint8Array> | null): AsyncGenerator<string> {
  if (body === null) return;
  let rest = '';
  const decoder = new TextDecoder();
  for await (const chunk of body) {
    const parts = (rest + decoder.decode(chunk, { stream: true })).split('\n');
    rest = parts.pop() ?? '';
    for (const line of parts) if (line !== '') yield line;
  }
}
