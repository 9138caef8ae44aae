import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { TransportCounts, TransportLink, TransportProbe, TransportServeOptions } from '@mcp-blocks/core/testing';
import type { Transport } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';
import { StdioClientTransport as V1StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import type { FromProcess, LastWords, ToProcess } from './transports-stdio-server.ts';

const PROGRAM = fileURLToPath(new URL('transports-stdio-server.ts', import.meta.url));

/** The SDK's client asks a subclass for its era in place; for the class itself it starts one more process. */
class OneProcess extends StdioClientTransport {}

/** A server in a process of its own, steered over a control connection beside stdio. */
export class StdioServer implements TransportProbe {
  readonly #server: Server;
  readonly #options: TransportServeOptions;
  /** Control connections by process. */
  readonly #controls = new Map<number, PromiseWithResolvers<Control>>();
  readonly #waiting = new Map<number, (value: unknown) => void>();
  #lastWords: LastWords | undefined;
  #control: Control | undefined;
  #transport: { readonly pid: number | null } | undefined;
  #nextId = 1;

  private constructor(server: Server, options: TransportServeOptions) {
    this.#server = server;
    this.#options = options;
    server.on('connection', (socket) => this.#listen(socket));
  }

  static async open(options: TransportServeOptions): Promise<StdioServer> {
    const server = createServer();
    await once(server.listen(0, '127.0.0.1'), 'listening');
    return new StdioServer(server, options);
  }

  /** The transport that starts the process when its client connects. */
  dial(version: 'v1' | 'v2'): { readonly transport: Transport; readonly link: TransportLink } {
    const Stdio = version === 'v1' ? V1StdioClientTransport : OneProcess;
    const { port } = this.#server.address() as AddressInfo;
    const transport = new Stdio({
      command: process.execPath,
      args: [PROGRAM],
      env: { TRANSPORTS_CONTROL_PORT: String(port), TRANSPORTS_REQUEST_TIMEOUT_MS: String(this.#options.requestTimeoutMs) },
    });
    this.#transport = transport;
    // Nothing public of the SDK makes a pipe fail.
    const pipes = () => (transport as unknown as { _process: ChildProcess })._process;
    return {
      transport: transport as Transport,
      link: {
        stall: () => void pipes().stdout?.pause(),
        resume: () => void pipes().stdout?.resume(),
        freeze() {
          pipes().stdin?.cork();
          pipes().stdout?.pause();
        },
        cut() {
          pipes().stdin?.destroy();
          pipes().stdout?.destroy();
        },
      },
    };
  }

  async entered(key: string): Promise<void> {
    await this.#ask('entered', key);
  }

  async over(key: string): Promise<'answered' | 'aborted'> {
    return ((await this.#ask('over', key)) ?? this.#lastWords?.outcomes[key]) as 'answered' | 'aborted';
  }

  async release(key: string): Promise<void> {
    await this.#ask('release', key);
  }

  async publish(): Promise<void> {
    await this.#ask('publish', '');
  }

  async counts(): Promise<TransportCounts> {
    return ((await this.#ask('counts', '')) ?? this.#lastWords?.counts) as TransportCounts;
  }

  async advance(ms: number): Promise<void> {
    await this.#ask('advance', String(ms));
  }

  async stop(): Promise<void> {
    this.#server.close();
    const control = await this.#current();
    if (control === undefined) return;
    void this.#ask('stop', '');
    await control.gone;
  }

  /** The connection to the process that the client talks to. */
  async #current(): Promise<Control | undefined> {
    const pid = this.#transport?.pid ?? undefined;
    if (this.#control === undefined && pid !== undefined) this.#control = await this.#controlOf(pid).promise;
    return this.#control;
  }

  #controlOf(pid: number): PromiseWithResolvers<Control> {
    let control = this.#controls.get(pid);
    if (control === undefined) this.#controls.set(pid, (control = Promise.withResolvers()));
    return control;
  }

  /** Resolves with what the process answers; with nothing when it is gone. */
  async #ask(what: ToProcess['what'], argument: string): Promise<unknown> {
    const control = await this.#current();
    if (control === undefined || control.socket.destroyed) return undefined;
    const id = this.#nextId++;
    const request: ToProcess = { id, what, argument };
    const answer = new Promise((resolve) => this.#waiting.set(id, resolve));
    control.socket.write(`${JSON.stringify(request)}\n`);
    return answer;
  }

  #listen(socket: Socket): void {
    socket.on('error', () => {});
    const lines = createInterface({ input: socket });
    const gone = new Promise<void>((resolve) => lines.once('close', resolve));
    lines.on('line', (line) => {
      const said = JSON.parse(line) as FromProcess;
      if ('pid' in said) this.#controlOf(said.pid).resolve({ socket, gone });
      else if ('lastWords' in said) {
        if (this.#control?.socket === socket) this.#lastWords = said.lastWords;
      } else {
        this.#waiting.get(said.id)?.(said.value);
        this.#waiting.delete(said.id);
      }
    });
    void gone.then(() => {
      socket.destroy();
      if (this.#control?.socket !== socket) return;
      for (const resolve of this.#waiting.values()) resolve(undefined);
    });
  }
}

interface Control {
  readonly socket: Socket;
  /** Resolves when the process has gone. */
  readonly gone: Promise<void>;
}
