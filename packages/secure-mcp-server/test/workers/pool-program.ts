import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { onTestFinished, vi } from 'vitest';

const PRIMARY = fileURLToPath(new URL('./primary.ts', import.meta.url));
const LOADER = new URL('../support/source-loader.mjs', import.meta.url).href;
const PATIENCE = { timeout: 120_000, interval: 20 };

export interface PoolEvent {
  readonly event: 'serving' | 'exit' | 'error';
  readonly pid: number;
  readonly expected?: boolean;
  readonly message?: string;
}

/** The program with the pool, and what it told. */
export class PoolProgram {
  readonly folder = mkdtempSync(join(tmpdir(), 'mcp-blocks-workers-'));
  readonly events: PoolEvent[] = [];
  readonly #child: ChildProcess;
  readonly #answers = new Map<number, (answer: { result?: unknown; error?: string }) => void>();
  #asked = 0;

  constructor() {
    this.#child = fork(PRIMARY, {
      execArgv: ['--conditions=@mcp-blocks/source', '--disable-warning=ExperimentalWarning', '--import', LOADER],
      env: { ...process.env, WORKERS_FOLDER: this.folder },
    });
    this.#child.on('message', (message: PoolEvent | { readonly id: number; readonly result?: unknown; readonly error?: string }) => {
      if ('event' in message) this.events.push(message);
      else this.#answers.get(message.id)?.(message);
    });
    onTestFinished(async () => {
      if (this.#child.exitCode === null && this.#child.signalCode === null) {
        this.#child.kill('SIGKILL');
        await once(this.#child, 'exit');
      }
      rmSync(this.folder, { recursive: true, force: true, maxRetries: 10 });
    });
  }

  get pid(): number {
    return this.#child.pid as number;
  }

  /** @throws Error with what the pool says is wrong. */
  async act<Result = void>(act: 'start' | 'reload' | 'report' | 'close'): Promise<Result> {
    const id = (this.#asked += 1);
    const answer = await new Promise<{ result?: unknown; error?: string }>((resolve) => {
      this.#answers.set(id, resolve);
      this.#child.send({ act, id });
    });
    if (answer.error !== undefined) throw new Error(answer.error);
    return answer.result as Result;
  }

  /** Leaves a file for the workers to see. */
  tell(name: string): void {
    writeFileSync(join(this.folder, name), '');
  }

  /** Resolves when each of these workers has a call that waits. */
  async waits(pids: readonly number[]): Promise<void> {
    await until(() => {
      for (const pid of pids) if (!existsSync(join(this.folder, `waits-${pid}`))) throw new Error(`no call waits in process ${pid}`);
    });
  }

  untell(name: string): void {
    rmSync(join(this.folder, name));
  }

  /** Workers that serve, as told. */
  serving(): number[] {
    const ended = new Set(this.events.filter(({ event }) => event === 'exit').map(({ pid }) => pid));
    return this.events.filter(({ event, pid }) => event === 'serving' && !ended.has(pid)).map(({ pid }) => pid);
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  async exited(): Promise<number | null> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) await once(this.#child, 'exit');
    return this.#child.exitCode;
  }
}

export const until = (check: () => void | Promise<void>) => vi.waitFor(check, PATIENCE);

export const isAlive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};

/** One connection, and so one worker. */
export class Caller {
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 1 });
  readonly #url: string;

  constructor(url: string) {
    this.#url = url;
    onTestFinished(() => this.#agent.destroy());
  }

  /** The process that answered, or the message of the JSON-RPC error. Rejects when the connection is lost. */
  async call(name: string): Promise<string> {
    const { body } = await this.send(
      { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name, arguments: {}, _meta: META } },
      {
        'mcp-protocol-version': '2026-07-28',
        'mcp-method': 'tools/call',
        'mcp-name': name,
      },
    );
    const { result, error } = JSON.parse(body) as { result?: { content: [{ text: string }] }; error?: { message: string } };
    return result?.content[0].text ?? (error?.message as string);
  }

  send(message: object, headers: Record<string, string>): Promise<{ status: number; headers: Record<string, unknown>; body: string }> {
    return new Promise((resolve, reject) => {
      const options = {
        agent: this.#agent,
        method: 'POST',
        headers: { 'content-type': 'application/json', accept: 'application/json, text/event-stream', ...headers },
      };
      const sent = request(this.#url, options, (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.once('error', reject);
        response.once('end', () =>
          resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks).toString() }),
        );
      });
      sent.once('error', reject).end(JSON.stringify(message));
    });
  }

  close(): void {
    this.#agent.destroy();
  }
}

const META = {
  'io.modelcontextprotocol/protocolVersion': '2026-07-28',
  'io.modelcontextprotocol/clientInfo': { name: 'test', version: '1.0.0' },
  'io.modelcontextprotocol/clientCapabilities': {},
};
