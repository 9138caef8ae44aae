import { randomUUID } from 'node:crypto';
import {
  type Clock,
  isJsonObject,
  isJsonRpcRequest,
  type JsonObject,
  type JsonRpcMessage,
  type JsonRpcRequest,
  type StateStore,
} from '@mcp-blocks/core';
import { StateEventStore } from '@mcp-blocks/core/sdk';

/** A legacy session as every node sees it. */
export interface SessionRecord {
  /** Who opened it: nobody else may use it. */
  readonly owner: string;
  /** The client's requests that made the session what it is, `initialize` first: a node that takes it over goes through them. */
  readonly requests: readonly JsonRpcRequest[];
}

/** Tells other nodes about a session: its event stream is here now, or it has ended. */
interface Notice {
  readonly node: string;
  readonly sessionId: string;
  readonly kind: 'moved' | 'ended';
}

/** Bounds of {@link SharedSessions}. */
export interface SharedSessionsOptions {
  readonly idleTimeoutMs: number;
  readonly maxEvents: number;
  readonly onError: (error: Error) => void;
  readonly clock: Clock;
}

const PREFIX = 'mcp-session';
const ATTEMPTS = 5;

/** The records of legacy sessions in a store that several nodes share. */
export class SharedSessions {
  readonly #store: StateStore;
  readonly #options: SharedSessionsOptions;
  readonly #node = randomUUID();
  #unsubscribe: Promise<() => Promise<void>> | undefined;

  constructor(store: StateStore, options: SharedSessionsOptions) {
    this.#store = store;
    this.#options = options;
  }

  /** Listens to the other nodes. */
  watch(onNotice: (sessionId: string, kind: Notice['kind']) => void): void {
    this.#unsubscribe ??= this.#store.subscribe(`${PREFIX}:notices`, (message) => {
      const { node, sessionId, kind } = message as unknown as Notice;
      if (node !== this.#node) onNotice(sessionId, kind);
    });
    // Without it, sessions that have moved or ended are noticed when they are used.
    this.#unsubscribe.catch((error: Error) => this.#options.onError(error));
  }

  async create(sessionId: string, owner: string, initialize: JsonRpcRequest): Promise<void> {
    await this.#store.set(key(sessionId), { owner, requests: [initialize] } as unknown as JsonObject, {
      ttlMs: this.#options.idleTimeoutMs,
    });
  }

  async find(sessionId: string): Promise<SessionRecord | undefined> {
    const record = await this.#store.get(key(sessionId));
    return isJsonObject(record) ? (record as unknown as SessionRecord) : undefined;
  }

  /** Puts the end of a session off by its idle timeout. Does not bring back one that has ended. */
  async touch(sessionId: string): Promise<void> {
    await this.#change(sessionId, (requests) => requests);
    await this.eventStore(sessionId).keep();
  }

  /** Keeps what a request changed in the session: its log level, what it has subscribed to. */
  async remember(sessionId: string, message: JsonRpcMessage): Promise<void> {
    if (!isJsonRpcRequest(message)) return;
    const { method, params } = message;
    if (method === 'logging/setLevel') {
      const kept = keptRequest(method, { level: params?.level });
      await this.#change(sessionId, (requests) => [...requests.filter((request) => request.method !== method), kept]);
    } else if (method === 'resources/subscribe' || method === 'resources/unsubscribe') {
      const isOther = (request: JsonRpcRequest) => request.method !== 'resources/subscribe' || request.params?.uri !== params?.uri;
      await this.#change(sessionId, (requests) => [
        ...requests.filter(isOther),
        ...(method === 'resources/subscribe' ? [keptRequest(method, { uri: params?.uri })] : []),
      ]);
    }
  }

  async end(sessionId: string): Promise<void> {
    await this.#store.delete(key(sessionId));
    await this.eventStore(sessionId).clear();
    await this.#tell(sessionId, 'ended');
  }

  moved(sessionId: string): Promise<void> {
    return this.#tell(sessionId, 'moved');
  }

  eventStore(sessionId: string): StateEventStore {
    const { idleTimeoutMs, maxEvents, onError, clock } = this.#options;
    return new StateEventStore(this.#store, { key: key(sessionId), ttlMs: idleTimeoutMs, maxEvents, onError, clock });
  }

  async close(): Promise<void> {
    const unsubscribe = await this.#unsubscribe?.catch(() => undefined);
    this.#unsubscribe = undefined;
    await unsubscribe?.();
  }

  async #change(sessionId: string, next: (requests: readonly JsonRpcRequest[]) => readonly JsonRpcRequest[]): Promise<void> {
    for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
      const record = await this.find(sessionId);
      if (record === undefined) return;
      const changed = { ...record, requests: next(record.requests) };
      const options = { ttlMs: this.#options.idleTimeoutMs };
      if (await this.#store.compareAndSet(key(sessionId), record as unknown as JsonObject, changed as unknown as JsonObject, options))
        return;
    }
  }

  async #tell(sessionId: string, kind: Notice['kind']): Promise<void> {
    await this.#store.publish(`${PREFIX}:notices`, { node: this.#node, sessionId, kind });
  }
}

function key(sessionId: string): string {
  return `${PREFIX}:${sessionId}`;
}

/** What is kept of a request: nothing of what else its client sent along. Nobody waits for its answer by an id. */
function keptRequest(method: string, params: JsonObject): JsonRpcRequest {
  return { jsonrpc: '2.0', id: 'kept', method, params };
}
