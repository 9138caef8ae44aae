import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Listener, ListenerHost } from '../listener.js';

/**
 * A listener that can share an HTTP server's port: instead of `listen`, the HTTP listener calls `attach`
 * and hands over upgrade requests for `path`. It drains and closes with the HTTP listener.
 */
export interface HttpUpgradeListener extends Listener {
  /** The exact URL path it serves, such as `/ws`. */
  readonly path: string;
  /** Takes the host without opening a port. */
  attach(host: ListenerHost): void;
  /** Takes over the socket of one upgrade request, Host and Origin already checked. */
  handleUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void;
}
