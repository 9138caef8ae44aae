import type { Server } from 'node:http';
import { Server as NetServer } from 'node:net';

/** A server, and when it is closed. */
export interface Closing {
  readonly server: Server;
  /** Resolves when the port and every connection are closed. Set when closing has begun. */
  closed?: Promise<void>;
}

export function closeServer(closing: Closing): Promise<void> {
  closing.closed ??= closePort(closing.server);
  return closing.closed;
}

/** Closes the port, then the connections that are idle; resolves when all connections are closed. */
function closePort(server: Server): Promise<void> {
  return new Promise((resolve) => {
    // HTTP's own close also cuts connections whose request has arrived and is not read yet. So the port
    // alone first, and the idle connections when what had arrived has been read.
    NetServer.prototype.close.call(server, () => resolve());
    setImmediate(() => setImmediate(() => server.close()));
  });
}
