import type { Readable, Writable } from 'node:stream';
import { type Clock, ConfigurationError, type Listener, type ListenerHost, type Principal, systemClock } from '@mcp-blocks/core';
import { settledWithin } from './deadline.js';
import { type LineConnection, serveLines } from './line-connection.js';
import { localPrincipal } from './local-principal.js';

/** Milliseconds that requests in progress get when the input has ended: whoever pipes one in wants its answer. */
const LAST_ANSWERS_MS = 5000;

/** Options of {@link stdio}. */
export interface StdioOptions {
  /** Who the peer is taken for: it started this process. Default: `local:<user name>`, without roles. */
  readonly principal?: Principal;
  /** A bearer token to authenticate instead, for hosts that pass one in the environment. Excludes `principal`. */
  readonly token?: string;
  /** Default: `process.stdin`. */
  readonly input?: Readable;
  /** Default: `process.stdout`, on which nothing else may be written. */
  readonly output?: Writable;
}

/**
 * MCP over standard input and output, both eras, for hosts that start their servers. When the input
 * ends, the whole server stops, so that the process does not outlive its host.
 *
 * @throws ConfigurationError for both a principal and a token.
 */
export function stdio(options: StdioOptions = {}): Listener {
  return new StdioListener(options);
}

class StdioListener implements Listener {
  readonly name = 'stdio';
  readonly #options: StdioOptions;
  #connection: LineConnection | undefined;
  #clock: Clock = systemClock;

  constructor(options: StdioOptions) {
    if (options.principal !== undefined && options.token !== undefined) {
      throw new ConfigurationError('stdio.token', 'expected principal or token, not both');
    }
    this.#options = options;
  }

  get endpoint(): string | undefined {
    return this.#connection === undefined ? undefined : 'stdio:';
  }

  async listen(host: ListenerHost): Promise<void> {
    this.#clock = host.clock ?? systemClock;
    const { principal, token, input = process.stdin, output = process.stdout } = this.#options;
    const caller =
      token === undefined
        ? (principal ?? localPrincipal())
        : await host.authenticate({ transport: this.name, header: (name) => (name === 'authorization' ? `Bearer ${token}` : undefined) });
    const connection = serveLines(host, {
      input,
      output,
      principal: caller,
      transport: this.name,
      lastAnswersMs: LAST_ANSWERS_MS,
    });
    this.#connection = connection;
    void connection.closed.then(() => host.ended?.());
  }

  async drain(deadlineMs: number): Promise<void> {
    const connection = this.#connection;
    if (connection === undefined) return;
    await settledWithin(connection.idle(), deadlineMs, this.#clock);
    await connection.close();
  }

  async close(): Promise<void> {
    const connection = this.#connection;
    this.#connection = undefined;
    await connection?.close();
  }
}
