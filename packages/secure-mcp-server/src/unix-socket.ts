import { chmodSync } from 'node:fs';
import { lstat, unlink } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { type Clock, ConfigurationError, type Listener, type ListenerHost, type Principal, systemClock } from '@mcp-blocks/core';
import { settledWithin } from './deadline.js';
import { type LineConnection, serveLines } from './line-connection.js';
import { localPrincipal } from './local-principal.js';
import { integerOption } from './options.js';

/** Options of {@link unixSocket}. */
export interface UnixSocketOptions {
  /** Path of the socket file. A file that a dead process left behind is replaced. */
  readonly path: string;
  /** Who may connect, as file permissions. Default: `0o600`, the owner only. */
  readonly mode?: number;
  /** Who every peer is taken for; the file permissions decided that. Default: `local:<user name>`, without roles. */
  readonly principal?: Principal;
}

/**
 * MCP over a Unix domain socket: newline-delimited JSON as on stdio, many connections, both eras. A
 * custom transport in the spec's sense (transports, "Custom Transports").
 *
 * `listen` throws ConfigurationError when the path is taken by a live process or is not a socket.
 */
export function unixSocket(options: UnixSocketOptions): Listener {
  return new UnixSocketListener(options);
}

class UnixSocketListener implements Listener {
  readonly name = 'unix';
  readonly #path: string;
  readonly #mode: number;
  readonly #principal: Principal;
  readonly #connections = new Map<Socket, LineConnection>();
  #server: Server | undefined;
  #clock: Clock = systemClock;

  constructor({ path, mode, principal }: UnixSocketOptions) {
    if (typeof path !== 'string' || path === '') throw new ConfigurationError('unixSocket.path', 'expected the path of a socket file');
    this.#path = path;
    this.#mode = integerOption('unixSocket.mode', mode, { fallback: 0o600, min: 0, max: 0o777 });
    this.#principal = principal ?? localPrincipal();
  }

  get endpoint(): string | undefined {
    return this.#server === undefined ? undefined : this.#path;
  }

  async listen(host: ListenerHost): Promise<void> {
    this.#clock = host.clock ?? systemClock;
    await removeStale(this.#path);
    const server = createServer((socket) => this.#accept(socket, host));
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      // The file must not be open to others between its creation and chmod.
      const umask = process.umask(0o177);
      try {
        server.listen(this.#path, resolve);
      } finally {
        process.umask(umask);
      }
    }).catch((error: NodeJS.ErrnoException) => {
      throw new ConfigurationError('unixSocket.path', `cannot listen on '${this.#path}' (${error.code ?? error.message})`);
    });
    server.on('error', (error) => host.onError(error));
    chmodSync(this.#path, this.#mode);
    this.#server = server;
  }

  async drain(deadlineMs: number): Promise<void> {
    this.#server?.close();
    await Promise.all(
      [...this.#connections.values()].map(async (connection) => {
        await settledWithin(connection.idle(), deadlineMs, this.#clock);
        await connection.close();
        await settledWithin(connection.closed, deadlineMs, this.#clock);
      }),
    );
  }

  async close(): Promise<void> {
    const server = this.#server;
    if (server === undefined) return;
    this.#server = undefined;
    // Node removes the file.
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    await Promise.all([...this.#connections.values()].map((connection) => connection.close()));
    for (const socket of this.#connections.keys()) socket.destroy();
    await closed;
  }

  #accept(socket: Socket, host: ListenerHost): void {
    if (host.hasCapacity?.() === false) {
      socket.destroy();
      return;
    }
    const connection = serveLines(host, {
      input: socket,
      output: socket,
      principal: this.#principal,
      transport: this.name,
      lastAnswersMs: 0,
    });
    this.#connections.set(socket, connection);
    void connection.closed.then(() => {
      this.#connections.delete(socket);
      socket.end();
      // What was written last is on its way; a peer that does not take it is not waited for.
      socket.setTimeout(1000, () => socket.destroy());
    });
  }
}

async function removeStale(path: string): Promise<void> {
  const file = await lstat(path).catch(() => undefined);
  if (file === undefined) return;
  if (!file.isSocket()) throw new ConfigurationError('unixSocket.path', `'${path}' exists and is not a socket`);
  const alive = await new Promise<boolean>((resolve) => {
    const probe = connect(path);
    probe.once('connect', () => {
      probe.destroy();
      resolve(true);
    });
    probe.once('error', (error: NodeJS.ErrnoException) => resolve(error.code !== 'ECONNREFUSED'));
  });
  if (alive) throw new ConfigurationError('unixSocket.path', `'${path}' is in use by another process`);
  await unlink(path);
}
