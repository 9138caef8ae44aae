import { RpcError } from '@mcp-blocks/core';
import { z } from 'zod';
import { linesOf, RegistryHttp, type RegistryHttpOptions, RegistryRefusal } from './registry-http.js';

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
export interface EtcdClientOptions extends RegistryHttpOptions {
  /** For a store with authentication switched on (etcd documentation, "Role-based access control"). */
  readonly user?: { readonly name: string; readonly password: string };
}

// 64-bit integers are strings in protobuf's JSON; a field with its default value is left out.
const int64 = z.string().regex(/^-?\d+$/);
const header = z.object({ revision: int64 });
const rawEntry = z.object({ key: z.string(), value: z.string().default(''), mod_revision: int64.default('0') });
const rangeResponse = z.object({ header, kvs: z.array(rawEntry).default([]) });
const grantResponse = z.object({ ID: int64, TTL: int64 });
const keepAliveResponse = z.object({ result: z.object({ TTL: int64.default('0') }) });
const authenticateResponse = z.object({ token: z.string().min(1) });
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
  readonly #http: RegistryHttp;
  readonly #user: EtcdClientOptions['user'];
  #token: Promise<string> | undefined;

  /** @throws ConfigurationError when there is no endpoint, or one is not an http(s) URL. */
  constructor(options: EtcdClientOptions) {
    this.#http = new RegistryHttp('etcd', options);
    this.#user = options.user;
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
    const response = await this.#authenticated((headers) =>
      this.#http.open({ method: 'POST', path: '/v3/watch', body: { create_request }, headers, signal }),
    );
    for await (const line of linesOf(response)) {
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

  /** Ends idle connections. */
  close(): void {
    this.#http.close();
  }

  async #post(path: string, body: unknown, signal?: AbortSignal): Promise<unknown> {
    try {
      return (await this.#authenticated((headers) => this.#http.request({ method: 'POST', path, body, headers, signal }))).body;
    } catch (error) {
      if (error instanceof RegistryRefusal) throw new RpcError('unavailable', error.message);
      throw error;
    }
  }

  /** Runs a request with the user's token, and once more with a new one when etcd no longer takes it. */
  async #authenticated<T>(request: (headers: Readonly<Record<string, string>>) => Promise<T>): Promise<T> {
    if (this.#user === undefined) return await request({});
    const token = (this.#token ??= this.#authenticate());
    try {
      return await request({ authorization: await token });
    } catch (error) {
      if (this.#token === token) this.#token = undefined;
      if (!(error instanceof RegistryRefusal) || !/invalid auth token|revision in auth token/i.test(error.message)) throw error;
      return await request({ authorization: await (this.#token ??= this.#authenticate()) });
    }
  }

  async #authenticate(): Promise<string> {
    const { body } = await this.#http.request({ method: 'POST', path: '/v3/auth/authenticate', body: this.#user });
    return authenticateResponse.parse(body).token;
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
