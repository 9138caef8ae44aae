import type { JsonObject, RpcResult, ServiceEvent, ServiceNode } from '@mcp-blocks/core';

/** One request on its way to a node. */
export interface UpstreamRequest {
  readonly method: string;
  readonly params: JsonObject;
  /** Aborts when the caller is gone or the time is up. */
  readonly signal: AbortSignal;
  /** As the caller describes itself; what a modern node sees as the client. */
  readonly clientInfo?: JsonObject;
  readonly clientCapabilities?: JsonObject;
  /** Told of the request's progress, when its `_meta` holds a `progressToken`. */
  readonly onProgress?: (progress: JsonObject) => void;
  /** The lowest level of log messages that the caller wants to hear of. Absent: none. */
  readonly logLevel?: string;
  /** Told of notifications that belong to the request, such as `notifications/message`; not of its progress. */
  readonly onNotification?: (method: string, params: JsonObject) => void;
  /**
   * Asks the caller what a legacy node wants to know: `elicitation/create`, `sampling/createMessage`,
   * `roots/list`. Absent: the caller cannot be asked.
   */
  readonly ask?: (method: string, params: JsonObject) => Promise<RpcResult>;
  /** The tool's JSON Schema, where known, for the `Mcp-Param-*` headers of `tools/call`. */
  readonly inputSchema?: JsonObject;
}

/** A legacy session at a node, as far as another connection needs it to go on with it. */
export interface UpstreamSession {
  readonly id: string;
  /** The result of the handshake. */
  readonly initialized: JsonObject;
}

/** A node's word that it tells of changes. */
export interface UpstreamWatch {
  /** Resolves when it does not any more. Never rejects. */
  readonly ended: Promise<void>;
  close(): Promise<void>;
}

/**
 * An open connection to a node, for one identity.
 *
 * `request` rejects with `RpcError` when the node answered with an error, and with {@link TransportFailure}
 * when it did not answer.
 */
export interface Upstream {
  request(request: UpstreamRequest): Promise<RpcResult>;
  /**
   * Asks to be told of changes: of the resource `uri`, or without one of the lists. Resolves when the node
   * has agreed; rejects as `request` does. Absent: changes are not heard of.
   */
  watch?(uri: string | undefined, onEvent: (event: ServiceEvent) => void): Promise<UpstreamWatch>;
  /** Resolves when the node answers at all. */
  ping(signal: AbortSignal): Promise<void>;
  /**
   * True where nothing tells which of several requests a message of the node belongs to. A request whose
   * caller can be asked has the connection to itself then.
   */
  readonly onePerCall?: boolean;
  /** The session it is in, where another connection can go on with it. Absent: there is none. */
  readonly session?: UpstreamSession | undefined;
  /** True once the connection cannot carry requests any more. */
  readonly closed: boolean;
  close(): Promise<void>;
  /** Closes the connection and leaves its session to others. Default: `close`. */
  leave?(): Promise<void>;
}

/** How a connection is opened. */
export interface ConnectOptions {
  /** Sent with the handshake and with every HTTP request: the credentials for this node. */
  readonly headers: Readonly<Record<string, string>>;
  /** What the callers it is for can be asked for; a legacy node is told once, when it is connected to. */
  readonly clientCapabilities?: JsonObject;
  /** A legacy session that is to outlive the connection: a new one, or one to go on with. Absent: it need not. */
  readonly session?: UpstreamSession | 'new';
  readonly signal: AbortSignal;
}

/** Opens connections to nodes. Rejects with {@link TransportFailure} when the node cannot be reached. */
export type Connect = (node: ServiceNode, options: ConnectOptions) => Promise<Upstream>;

/** Whether the node may have carried the request out. */
export type Delivery = 'not-sent' | 'unknown';

/** The node did not answer: not reachable, connection lost, HTTP status of a proxy or a failing server. */
export class TransportFailure extends Error {
  override readonly name = 'TransportFailure';
  readonly delivery: Delivery;
  /** Whether it counts against the node; a refusal of our credentials does not. */
  readonly blamesNode: boolean;
  /** The HTTP status, where there was one. */
  readonly status: number | undefined;

  constructor(
    message: string,
    options: { readonly delivery: Delivery; readonly blamesNode?: boolean; readonly status?: number | undefined; readonly cause?: unknown },
  ) {
    super(message, { cause: options.cause });
    this.delivery = options.delivery;
    this.blamesNode = options.blamesNode ?? true;
    this.status = options.status;
  }
}
