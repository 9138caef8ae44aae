/** A server process that can take requests. */
export interface ServiceNode {
  /** Unique within the service and stable across restarts of the discovery. */
  readonly id: string;
  /** Where it serves MCP: `http(s)://host:port/mcp` or `ws(s)://host:port/ws`. */
  readonly url: string;
  /** Share of traffic relative to the others, for weighted strategies; a positive number. Default: 1. */
  readonly weight?: number;
  readonly region?: string;
  readonly version?: string;
  readonly metadata?: Readonly<Record<string, string>>;
}

/**
 * Tells which nodes a service has. Every driver passes `discoveryContract` of `@mcp-blocks/core/testing`.
 *
 * `watch` calls back with the complete current list, at once and after every change, until stopped. A
 * driver that loses its backend keeps the last list, reports through `onError` and recovers by itself.
 */
export interface Discovery {
  /** The nodes now. Rejects with `RpcError` `unavailable` when the backend cannot be asked. */
  nodes(service: string): Promise<readonly ServiceNode[]>;
  watch(service: string, onChange: (nodes: readonly ServiceNode[]) => void, onError?: (error: Error) => void): Promise<() => Promise<void>>;
  close(): Promise<void>;
}

/** A {@link Discovery} in which nodes can enter and leave themselves. */
export interface ServiceRegistry extends Discovery {
  /**
   * Enters the node and keeps it entered until the returned function is called. If the process dies,
   * the entry goes by itself.
   */
  register(service: string, node: ServiceNode): Promise<() => Promise<void>>;
}
