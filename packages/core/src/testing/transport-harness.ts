import type { JsonObject } from '../json.js';
import type { ProtocolEra } from '../protocol.js';

/**
 * What a transport, or a client on it, may be unable to do. A harness says which in
 * {@link TransportHarness.lacks}, with the reason; the cases that need it are skipped then, and no others.
 */
export type TransportFeature =
  /** Aborts requests that run longer than {@link TransportServeOptions.requestTimeoutMs}. */
  | 'request timeout'
  /** Hands a notification, and the response right behind it, to the client in turns of their own. */
  | 'turns'
  /** Serves more than one client at a time. */
  | 'several clients'
  /** Refuses messages over `maxMessageBytes`. */
  | 'size limit'
  /** Tells the caller of a message that was too large, not only the connection. */
  | 'size errors'
  /** Stops taking what the service sends while the client does not read, and goes on when it does. */
  | 'slow readers wait'
  /** Cuts a client that does not read: at once, or after `slowReaderTimeoutMs`. */
  | 'slow readers are cut'
  /** A connection that breaks aborts the handlers of its requests. */
  | 'loss aborts'
  /** A connection that breaks, or that the server closes, settles the client's requests. */
  | 'loss settles'
  /** A request whose connection broke gets its answer over the next one, with no help of the caller. */
  | 'resumption'
  /** The server gives up a client that has gone silent, within `livenessMs`. */
  | 'server liveness'
  /** The client gives up a server that has gone silent, within `livenessMs`. */
  | 'client liveness'
  /** Change notifications come only to a client that asked for them, and only while it wants them. */
  | 'explicit subscriptions';

/** A transport as {@link transportContract} tests it: one way to serve, one kind of client, one era. */
export interface TransportHarness {
  readonly era: ProtocolEra;
  /** What this transport or this client does not do, and why. Default: it does everything. */
  readonly lacks?: Readonly<Partial<Record<TransportFeature, string>>>;
  /** Largest message the server accepts, in bytes. Default: 4,194,304 (4 MiB). */
  readonly maxMessageBytes?: number;
  /** Most bytes taken from the service for a client that does not read, the operating system's buffers included. Default: 16 MiB. */
  readonly maxUnreadBytes?: number;
  /** Milliseconds after which an end gives its silent peer up. Default: 0. */
  readonly livenessMs?: number;
  /** Milliseconds after which the server cuts a client that does not read. Default: 0. */
  readonly slowReaderTimeoutMs?: number;
  /** Longest wait for anything that should happen soon, in milliseconds. Default: 5,000. */
  readonly patienceMs?: number;
  /** Serves a fresh {@link TransportProbe}'s service. Called once per case, which closes the server. */
  serve(options: TransportServeOptions): Promise<TransportServer>;
}

/** What a case wants of its server. */
export interface TransportServeOptions {
  /** Milliseconds a request may run before the server aborts it and answers 408. */
  readonly requestTimeoutMs: number;
}

/** A served transport. */
export interface TransportServer {
  /** The service behind it: a `TransportTestService`, or a way to one in another process. */
  readonly probe: TransportProbe;
  /** Connects a fresh client over a fresh connection. */
  connect(options: TransportConnectOptions): Promise<TransportConnection>;
  /** Moves the clocks that were injected into either end. Absent: both use the machine's. */
  advance?(ms: number): Promise<void>;
  /** Ends the server and all it runs. Its clients are not told but by the transport. */
  stop(): Promise<void>;
  /** Ends the server, where it has not been, and its clients. */
  close(): Promise<void>;
}

/** What a case wants of its client. */
export interface TransportConnectOptions {
  /** Answers `elicitation/create`; its argument are the request's `params`. The client declares form elicitation. */
  readonly answer: (params: JsonObject) => JsonObject;
}

/** A client, and the wire between it and the server. */
export interface TransportConnection {
  readonly client: TransportClient;
  readonly link: TransportLink;
}

/** As much of an MCP client as the cases use. `sdkTransportClient` makes one of an SDK client. */
export interface TransportClient {
  /** Sends a request. Rejects for an error response with an error whose `code` is the JSON-RPC number and `data` its details. */
  request(method: string, params: JsonObject, options?: TransportRequestOptions): Promise<JsonObject>;
  /** Asks for `tools/list_changed`, where the era has one ask; resolves with the function that ends the subscription. */
  listen(): Promise<() => Promise<void>>;
  /** Notifications of changes received so far, by method. */
  readonly notifications: readonly string[];
  /** What failed with no request waiting for it. */
  readonly errors: readonly Error[];
  close(): Promise<void>;
}

/** How a {@link TransportClient} sends one request. */
export interface TransportRequestOptions {
  readonly signal?: AbortSignal;
  readonly timeoutMs?: number;
  readonly onProgress?: (progress: JsonObject) => void;
}

/** Makes the wire of one connection fail. `TransportRelay` does it for sockets. */
export interface TransportLink {
  /** What the server sends is not read any more; the other direction goes on. */
  stall(): void;
  /** What the server sends is read again. */
  resume(): void;
  /** Nothing goes through any more, in either direction, and neither end is told: a pulled cable. */
  freeze(): void;
  /** The connection breaks at once, for both ends, without a goodbye. */
  cut(): void;
}

/** Steers the calls of a `TransportTestService` and tells what became of them. */
export interface TransportProbe {
  /** Resolves when the call of this key runs. */
  entered(key: string): Promise<void>;
  /** Resolves when the call of this key is over. */
  over(key: string): Promise<'answered' | 'aborted'>;
  /** Lets the held call of this key answer. */
  release(key: string): Promise<void>;
  /** Publishes that the list of tools has changed. */
  publish(): Promise<void>;
  counts(): Promise<TransportCounts>;
}

/** What a `TransportTestService` counts. */
export interface TransportCounts {
  /** Calls of tools so far. */
  readonly calls: number;
  /** Calls of tools that run. */
  readonly running: number;
  /** Bytes of progress that the transport has taken. */
  readonly sentBytes: number;
  /** Who is told of changes. */
  readonly subscribers: number;
}
