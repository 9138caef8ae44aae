import type { SecureMCPServer } from '../secure-mcp-server.js';

/** Which worker a server is made for. */
export interface WorkerPlace {
  /** From 0; a worker that replaces another one has the same. */
  readonly index: number;
  /** How many workers there are. */
  readonly count: number;
}

/** A worker's server, with what has to be closed after it: audit sinks, stores, connections. */
export interface WorkerServer {
  readonly server: SecureMCPServer;
  /** Called once, when the server has stopped. */
  close?(): Promise<void>;
}

/**
 * What the module of a `WorkerPool` exports as `default`: makes the worker's server, which the pool starts, drains and
 * stops. Servers of all workers that listen on the same port share it.
 */
export type WorkerModule = (place: WorkerPlace) => SecureMCPServer | WorkerServer | Promise<SecureMCPServer | WorkerServer>;
