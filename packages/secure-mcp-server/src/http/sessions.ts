import { randomUUID } from 'node:crypto';
import {
  type CancelTimer,
  type Clock,
  type EndedSession,
  isJsonRpcRequest,
  type JsonRpcMessage,
  type JsonRpcRequest,
  principalKey,
  RpcError,
  type RpcService,
  type StateStore,
} from '@mcp-blocks/core';
import { type Connection, toAuthInfo, toSdkFactory } from '@mcp-blocks/core/sdk';
import { type EventStore, SUPPORTED_PROTOCOL_VERSIONS, WebStandardStreamableHTTPServerTransport } from '@modelcontextprotocol/server';
import { HttpRefusal } from './refusal.js';
import { ReplayBuffer } from './replay-buffer.js';
import { type SessionRecord, SharedSessions } from './shared-sessions.js';

/** Bounds of the sessions that legacy clients (2025-11-25 and before) hold. */
export interface SessionOptions {
  /** Milliseconds without a request or an open stream after which a session ends. Default: 1 800 000 (30 minutes). */
  readonly idleTimeoutMs?: number;
  /**
   * Most sessions on this node at a time. At the bound, who holds most gives their longest unused one to who
   * holds fewer; else `initialize` is refused with 503. With a `store` the longest unused one makes room, and is
   * rebuilt when it is used again. Default: 10 000.
   */
  readonly maxSessions?: number;
  /** Most sessions of one principal on this node at a time; further `initialize` requests are refused with 429. Default: 1000. */
  readonly maxSessionsPerPrincipal?: number;
  /** Bytes of sent events kept, over all sessions, for clients that resume a broken stream. Default: 16 777 216 (16 MiB). */
  readonly replayBufferBytes?: number;
  /**
   * Where sessions and their sent events are kept, so that another node with the same store goes on with them
   * when this one is gone. The listener does not close it. Default: in this process, and they end with it.
   */
  readonly store?: StateStore;
  /** With a `store`: most sent events kept for each session. From 1 to 10 000. Default: 256. */
  readonly maxEventsPerSession?: number;
}

/** {@link SessionOptions} with every default filled in. */
export interface ResolvedSessionOptions extends Required<Omit<SessionOptions, 'store'>> {
  readonly store: StateStore | undefined;
}

interface Session {
  readonly id: string;
  /** Who opened it: nobody else may use it. */
  readonly owner: string;
  readonly transport: WebStandardStreamableHTTPServerTransport;
  lastUsedAt: number;
  /** Requests and streams open at the moment. A session is not idle while there are any. */
  open: number;
  /** What is sent is not kept for now: the session is being rebuilt, and its client has had it before. */
  rebuilding: boolean;
  /** Whether the stream of what belongs to no request is this node's. */
  ownsStream: boolean;
  /** When the shared record was last put off. */
  touchedAt: number;
}

/** Longest `initialize` request, in characters. */
const MAX_INITIALIZE_LENGTH = 65_536;

/** The SDK's name for the stream that GET opens. */
const STANDALONE_STREAM = '_GET_stream';

/** The legacy era of an HTTP endpoint: `initialize`, `Mcp-Session-Id`, GET stream, resumption, DELETE. */
export class LegacySessions {
  readonly #service: RpcService;
  readonly #options: ResolvedSessionOptions;
  readonly #clock: Clock;
  readonly #replay: ReplayBuffer;
  readonly #shared: SharedSessions | undefined;
  readonly #onError: (error: Error) => void;
  readonly #onEnded: (session: EndedSession) => void;
  /** By id, least recently used first. */
  readonly #sessions = new Map<string, Session>();
  readonly #rebuilding = new Map<string, Promise<Session>>();
  #cancelSweep: CancelTimer | undefined;

  constructor(
    service: RpcService,
    options: ResolvedSessionOptions,
    clock: Clock,
    { onError, onEnded }: { onError: (error: Error) => void; onEnded: (session: EndedSession) => void },
  ) {
    this.#service = service;
    this.#onEnded = onEnded;
    this.#options = options;
    this.#clock = clock;
    this.#onError = onError;
    this.#replay = new ReplayBuffer(options.replayBufferBytes);
    if (options.store !== undefined) {
      const { idleTimeoutMs, maxEventsPerSession: maxEvents } = options;
      this.#shared = new SharedSessions(options.store, { idleTimeoutMs, maxEvents, onError, clock });
      this.#shared.watch((sessionId, kind) => this.#onNotice(sessionId, kind));
    }
  }

  get size(): number {
    return this.#sessions.size;
  }

  /** Answers a legacy request. `released` is called when the response has been sent. */
  async handle(
    request: Request,
    message: JsonRpcMessage | undefined,
    connection: Connection,
  ): Promise<{ readonly response: Response; readonly release: () => void }> {
    const version = request.headers.get('mcp-protocol-version');
    if (version !== null && !SUPPORTED_PROTOCOL_VERSIONS.includes(version)) {
      throw new RpcError('unsupported_protocol_version', `MCP-Protocol-Version: '${version}' is not supported`, {
        data: { supported: [...SUPPORTED_PROTOCOL_VERSIONS], requested: version },
      });
    }
    const sessionId = request.headers.get('mcp-session-id');
    const session = sessionId === null ? await this.#open(message, connection) : await this.#find(sessionId, connection);
    session.open += 1;
    const release = () => {
      session.open -= 1;
      this.#use(session);
    };
    try {
      if (request.method === 'GET') await this.#takeStream(session);
      const response = await session.transport.handleRequest(request, {
        ...(message === undefined ? {} : { parsedBody: message }),
        authInfo: toAuthInfo({ ...connection, sessionId: session.id }),
      });
      // An initialize that was refused leaves nothing behind.
      if (!response.ok && sessionId === null) await session.transport.close();
      else await this.#share(session, request.method, message, response.ok);
      return { response, release };
    } catch (error) {
      release();
      if (sessionId === null) await session.transport.close();
      throw error;
    }
  }

  /** Ends every session and its streams on this node. Shared ones go on elsewhere. */
  async close(): Promise<void> {
    this.#cancelSweep?.();
    this.#cancelSweep = undefined;
    await Promise.all([this.#shared?.close(), ...[...this.#sessions.values()].map((session) => session.transport.close())]);
  }

  async #find(sessionId: string, connection: Connection): Promise<Session> {
    const owner = principalKey(connection.principal);
    const unknown = () => new HttpRefusal(404, 'invalid_request', 'Mcp-Session-Id: there is no such session; initialize a new one');
    if (this.#shared === undefined) {
      const session = this.#sessions.get(sessionId);
      if (session?.owner !== owner) throw unknown();
      this.#use(session);
      return session;
    }
    const record = await this.#shared.find(sessionId);
    if (record?.owner !== owner) {
      if (record === undefined) await this.#sessions.get(sessionId)?.transport.close();
      throw unknown();
    }
    const session = this.#sessions.get(sessionId) ?? (await this.#rebuild(sessionId, record, connection));
    this.#use(session);
    if (this.#clock.now() - session.touchedAt >= this.#touchIntervalMs()) {
      session.touchedAt = this.#clock.now();
      await this.#shared.touch(sessionId);
    }
    return session;
  }

  async #open(message: JsonRpcMessage | undefined, connection: Connection): Promise<Session> {
    if (message === undefined || !isJsonRpcRequest(message) || message.method !== 'initialize') {
      throw new HttpRefusal(
        400,
        'invalid_request',
        'Mcp-Session-Id: required after initialize (or speak 2026-07-28, which has no sessions, with its _meta envelope)',
      );
    }
    // It is held as long as the session is.
    if (JSON.stringify(message).length > MAX_INITIALIZE_LENGTH) {
      throw new RpcError('payload_too_large', `initialize: expected at most ${MAX_INITIALIZE_LENGTH} characters`);
    }
    const owner = principalKey(connection.principal);
    const { maxSessionsPerPrincipal } = this.#options;
    if ((this.#held().get(owner) ?? 0) >= maxSessionsPerPrincipal) {
      throw new HttpRefusal(
        429,
        'rate_limited',
        `You hold ${maxSessionsPerPrincipal} sessions, the most there may be (maxSessionsPerPrincipal)`,
        {
          'retry-after': '60',
        },
      );
    }
    await this.#ensureRoom(owner);
    return this.#create(randomUUID(), owner, connection);
  }

  async #ensureRoom(owner: string): Promise<void> {
    const { maxSessions } = this.#options;
    if (this.#sessions.size < maxSessions || (await this.#makeRoom(owner))) return;
    throw new RpcError('unavailable', `The server holds ${maxSessions} sessions, as many as it can (maxSessions); try again later`, {
      headers: { 'retry-after': '60' },
    });
  }

  /** Ends a session of whoever holds most, unless that is `owner`: nobody can keep the others out. */
  async #makeRoom(owner: string): Promise<boolean> {
    const held = this.#held();
    const most = Math.max(0, ...held.values());
    const isFair = most <= (held.get(owner) ?? 0) + 1;
    for (const session of this.#sessions.values()) {
      // What is shared is not lost: it is rebuilt when its client comes back.
      if (session.open > 0 || (this.#shared === undefined && (isFair || held.get(session.owner) !== most))) continue;
      await session.transport.close();
      return true;
    }
    return false;
  }

  #held(): Map<string, number> {
    const held = new Map<string, number>();
    for (const { owner } of this.#sessions.values()) held.set(owner, (held.get(owner) ?? 0) + 1);
    return held;
  }

  async #create(id: string, owner: string, connection: Connection, rebuilding = false): Promise<Session> {
    const now = this.#clock.now();
    const state = { id, owner, lastUsedAt: now, touchedAt: now, open: 0, rebuilding, ownsStream: !rebuilding };
    const transport = new WebStandardStreamableHTTPServerTransport({
      sessionIdGenerator: () => id,
      eventStore: this.#eventStore(state),
      retryInterval: 1000,
    });
    const session: Session = Object.assign(state, { transport });
    const server = await toSdkFactory(this.#service, { ...connection, sessionId: id })({ era: 'legacy' });
    this.#sessions.set(id, session);
    await server.connect(transport);
    const ended = transport.onclose;
    transport.onclose = () => {
      this.#sessions.delete(id);
      this.#replay.drop(id);
      const protocolVersion = ('server' in server ? server.server : server).getNegotiatedProtocolVersion();
      if (protocolVersion !== undefined) {
        this.#onEnded({ transport: connection.transport, protocolVersion, durationMs: this.#clock.now() - now });
      }
      ended?.();
    };
    this.#scheduleSweep();
    return session;
  }

  /** Makes the session of another node this one's too, by going through what its client had asked for. */
  #rebuild(id: string, record: SessionRecord, connection: Connection): Promise<Session> {
    const running = this.#rebuilding.get(id);
    if (running !== undefined) return running;
    const rebuild = async () => {
      await this.#ensureRoom(record.owner);
      const session = await this.#create(id, record.owner, connection, true);
      try {
        for (const request of record.requests) await this.#repeat(session, request, connection);
        await this.#repeat(session, { jsonrpc: '2.0', method: 'notifications/initialized' }, connection);
      } catch (error) {
        await session.transport.close();
        throw error;
      }
      session.rebuilding = false;
      return session;
    };
    const promise = rebuild().finally(() => this.#rebuilding.delete(id));
    this.#rebuilding.set(id, promise);
    return promise;
  }

  async #repeat({ id, transport }: Session, message: JsonRpcMessage, connection: Connection): Promise<void> {
    const headers = { 'content-type': 'application/json', accept: 'application/json, text/event-stream', 'mcp-session-id': id };
    const response = await transport.handleRequest(new Request('http://localhost/', { method: 'POST', headers }), {
      parsedBody: message,
      authInfo: toAuthInfo({ ...connection, sessionId: id }),
    });
    // The answer went to the client long ago.
    await response.text();
  }

  #eventStore(session: { readonly id: string; readonly rebuilding: boolean; readonly ownsStream: boolean }): EventStore {
    if (this.#shared === undefined) return this.#replay.storeFor(session.id);
    const store = this.#shared.eventStore(session.id);
    return {
      async storeEvent(streamId, message) {
        const elsewhere = streamId === STANDALONE_STREAM && !session.ownsStream;
        return session.rebuilding || elsewhere ? `unkept-${randomUUID()}` : store.storeEvent(streamId, message);
      },
      getStreamIdForEventId: (eventId) => store.getStreamIdForEventId(eventId),
      replayEventsAfter: (lastEventId, callbacks) => store.replayEventsAfter(lastEventId, callbacks),
    };
  }

  async #share(session: Session, method: string, message: JsonRpcMessage | undefined, ok: boolean): Promise<void> {
    if (this.#shared === undefined || !ok) return;
    if (method === 'DELETE') await this.#shared.end(session.id);
    else if (message === undefined) return;
    else if (isInitialize(message)) await this.#shared.create(session.id, session.owner, message);
    else await this.#shared.remember(session.id, message);
  }

  async #takeStream(session: Session): Promise<void> {
    if (this.#shared === undefined || session.ownsStream) return;
    session.ownsStream = true;
    await this.#shared.moved(session.id);
  }

  #onNotice(sessionId: string, kind: 'moved' | 'ended'): void {
    const session = this.#sessions.get(sessionId);
    if (session === undefined) return;
    session.ownsStream = false;
    if (kind === 'ended' || session.open === 0) void session.transport.close();
  }

  #use(session: Session): void {
    session.lastUsedAt = this.#clock.now();
    if (this.#sessions.delete(session.id)) this.#sessions.set(session.id, session);
  }

  #touchIntervalMs(): number {
    return this.#options.idleTimeoutMs / 4;
  }

  #scheduleSweep(): void {
    if (this.#cancelSweep !== undefined) return;
    const oldest = [...this.#sessions.values()].find((session) => session.open === 0)?.lastUsedAt ?? this.#clock.now();
    const delayMs = Math.max(1, oldest + this.#options.idleTimeoutMs - this.#clock.now());
    const boundMs = this.#shared === undefined ? delayMs : Math.min(delayMs, Math.ceil(this.#touchIntervalMs()));
    this.#cancelSweep = this.#clock.setTimeout(() => this.#sweep(), boundMs);
  }

  #sweep(): void {
    this.#cancelSweep = undefined;
    const lastUsedBefore = this.#clock.now() - this.#options.idleTimeoutMs;
    for (const session of [...this.#sessions.values()]) {
      if (session.open > 0) this.#shared?.touch(session.id).catch((error: Error) => this.#onError(error));
      else if (session.lastUsedAt <= lastUsedBefore) void session.transport.close();
    }
    if (this.#sessions.size > 0) this.#scheduleSweep();
  }
}

function isInitialize(message: JsonRpcMessage): message is JsonRpcRequest {
  return isJsonRpcRequest(message) && message.method === 'initialize';
}
