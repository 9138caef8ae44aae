import { randomUUID } from 'node:crypto';
import {
  type CancelTimer,
  type Clock,
  isJsonRpcRequest,
  type JsonRpcMessage,
  principalKey,
  RpcError,
  type RpcService,
} from '@mcp-blocks/core';
import { type Connection, toAuthInfo, toSdkFactory } from '@mcp-blocks/core/sdk';
import { SUPPORTED_PROTOCOL_VERSIONS, WebStandardStreamableHTTPServerTransport } from '@modelcontextprotocol/server';
import { HttpRefusal } from './refusal.js';
import { ReplayBuffer } from './replay-buffer.js';

/** Bounds of the sessions that legacy clients (2025-11-25 and before) hold. */
export interface SessionOptions {
  /** Milliseconds without a request or an open stream after which a session ends. Default: 1 800 000 (30 minutes). */
  readonly idleTimeoutMs?: number;
  /** Most sessions at a time; at the bound, who holds most gives their longest unused one to who holds fewer; else `initialize` is refused with 503. Default: 10 000. */
  readonly maxSessions?: number;
  /** Bytes of sent events kept, over all sessions, for clients that resume a broken stream. Default: 16 777 216 (16 MiB). */
  readonly replayBufferBytes?: number;
}

interface Session {
  readonly id: string;
  /** Who opened it: nobody else may use it. */
  readonly owner: string;
  readonly transport: WebStandardStreamableHTTPServerTransport;
  lastUsedAt: number;
  /** Requests and streams open at the moment. A session is not idle while there are any. */
  open: number;
}

/** The legacy era of an HTTP endpoint: `initialize`, `Mcp-Session-Id`, GET stream, resumption, DELETE. */
export class LegacySessions {
  readonly #service: RpcService;
  readonly #options: Required<SessionOptions>;
  readonly #clock: Clock;
  readonly #replay: ReplayBuffer;
  /** By id, least recently used first. */
  readonly #sessions = new Map<string, Session>();
  #cancelSweep: CancelTimer | undefined;

  constructor(service: RpcService, options: Required<SessionOptions>, clock: Clock) {
    this.#service = service;
    this.#options = options;
    this.#clock = clock;
    this.#replay = new ReplayBuffer(options.replayBufferBytes);
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
    const session = sessionId === null ? await this.#open(message, connection) : this.#find(sessionId, connection);
    session.open += 1;
    const release = () => {
      session.open -= 1;
      this.#touch(session);
    };
    try {
      const response = await session.transport.handleRequest(request, {
        ...(message === undefined ? {} : { parsedBody: message }),
        authInfo: toAuthInfo({ ...connection, sessionId: session.id }),
      });
      // An initialize that was refused leaves nothing behind.
      if (!response.ok && sessionId === null) await session.transport.close();
      return { response, release };
    } catch (error) {
      release();
      throw error;
    }
  }

  /** Ends every session and its streams. */
  async close(): Promise<void> {
    this.#cancelSweep?.();
    this.#cancelSweep = undefined;
    await Promise.all([...this.#sessions.values()].map((session) => session.transport.close()));
  }

  #find(sessionId: string, connection: Connection): Session {
    const session = this.#sessions.get(sessionId);
    if (session === undefined || session.owner !== principalKey(connection.principal)) {
      throw new HttpRefusal(404, 'invalid_request', 'Mcp-Session-Id: there is no such session; initialize a new one');
    }
    this.#touch(session);
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
    const owner = principalKey(connection.principal);
    if (this.#sessions.size >= this.#options.maxSessions && !(await this.#makeRoom(owner))) {
      throw new RpcError('unavailable', 'The server holds as many sessions as it can; try again later', {
        headers: { 'retry-after': '60' },
      });
    }
    const id = randomUUID();
    const transport = new WebStandardStreamableHTTPServerTransport({
      sessionIdGenerator: () => id,
      eventStore: this.#replay.storeFor(id),
      retryInterval: 1000,
    });
    const session: Session = { id, owner, transport, lastUsedAt: this.#clock.now(), open: 0 };
    const server = await toSdkFactory(this.#service, { ...connection, sessionId: id })({ era: 'legacy' });
    this.#sessions.set(id, session);
    await server.connect(transport);
    const ended = transport.onclose;
    transport.onclose = () => {
      this.#sessions.delete(id);
      this.#replay.drop(id);
      ended?.();
    };
    this.#scheduleSweep();
    return session;
  }

  /** Ends a session of whoever holds most, unless that is `owner`: nobody can keep the others out. */
  async #makeRoom(owner: string): Promise<boolean> {
    const held = new Map<string, number>();
    for (const session of this.#sessions.values()) held.set(session.owner, (held.get(session.owner) ?? 0) + 1);
    let most = 0;
    for (const count of held.values()) most = Math.max(most, count);
    if (most <= (held.get(owner) ?? 0) + 1) return false;
    for (const session of this.#sessions.values()) {
      if (session.open > 0 || held.get(session.owner) !== most) continue;
      await session.transport.close();
      return true;
    }
    return false;
  }

  #touch(session: Session): void {
    session.lastUsedAt = this.#clock.now();
    if (this.#sessions.delete(session.id)) this.#sessions.set(session.id, session);
  }

  #scheduleSweep(): void {
    if (this.#cancelSweep !== undefined) return;
    const oldest = [...this.#sessions.values()].find((session) => session.open === 0)?.lastUsedAt ?? this.#clock.now();
    const delayMs = Math.max(1, oldest + this.#options.idleTimeoutMs - this.#clock.now());
    this.#cancelSweep = this.#clock.setTimeout(() => this.#sweep(), delayMs);
  }

  #sweep(): void {
    this.#cancelSweep = undefined;
    const lastUsedBefore = this.#clock.now() - this.#options.idleTimeoutMs;
    for (const session of [...this.#sessions.values()]) {
      if (session.open === 0 && session.lastUsedAt <= lastUsedBefore) void session.transport.close();
    }
    if (this.#sessions.size > 0) this.#scheduleSweep();
  }
}
