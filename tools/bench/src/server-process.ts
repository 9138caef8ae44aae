import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { ServerProgram } from './contenders.ts';
import type { MemoryInUse } from './memory-probe.ts';

/** How a server is to serve: every request for itself, or legacy sessions. */
export type ServerMode = 'stateless' | 'sessions';

/** What a server prints, as its first JSON line, once it can be called. */
export interface ServerAnnouncement {
  readonly port: number;
  /** Default: `/mcp`. */
  readonly path?: string;
  /** `Authorization` values of callers who may call the echo tool. Absent: anybody may. */
  readonly authorizations?: readonly string[];
  /** `Authorization` values that must be refused, null standing for none at all. */
  readonly refused?: readonly (string | null)[];
  /** An audit trail that must hold every call when the server has ended. */
  readonly auditFile?: string;
  /** Where a pool of workers tells how it is. */
  readonly statusUrl?: string;
}

const START_TIMEOUT_MS = 30_000;
const STOP_TIMEOUT_MS = 10_000;
const ANSWER_TIMEOUT_MS = 30_000;

const PROBE = new URL('./memory-probe.ts', import.meta.url).href;

/** A measured server in a process of its own. */
export class ServerProcess {
  readonly announcement: ServerAnnouncement;
  readonly #child: ChildProcess;
  readonly #ended: Promise<string>;
  readonly #removeData: () => void;
  readonly #errors: () => string;

  private constructor(announcement: ServerAnnouncement, started: StartedProcess) {
    this.announcement = announcement;
    this.#child = started.child;
    this.#ended = started.ended;
    this.#removeData = started.removeData;
    this.#errors = started.errors;
  }

  /**
   * Starts the program and waits until it announces itself.
   *
   * @throws Error with the end of what it wrote to stderr.
   */
  static async start(program: ServerProgram, mode: ServerMode, prefix: readonly string[]): Promise<ServerProcess> {
    const started = spawnServer(program, mode, prefix);
    const timeout = rejectAfter(START_TIMEOUT_MS, `it did not announce itself within ${START_TIMEOUT_MS} ms`);
    try {
      const ended = started.ended.then((how) => Promise.reject(new Error(how)));
      return new ServerProcess(await Promise.race([announcementOf(started.child), ended, timeout.promise]), started);
    } catch (error) {
      await endProcess(started);
      throw new Error(`it did not start: ${(error as Error).message} ${started.errors()}`.trim());
    } finally {
      timeout.clear();
    }
  }

  /** What it wrote to stderr, the end of it. */
  get errors(): string {
    return this.#errors();
  }

  /** Memory after a full collection. */
  async memory(): Promise<MemoryInUse> {
    const timeout = rejectAfter(ANSWER_TIMEOUT_MS, 'the memory probe did not answer');
    try {
      const answer = new Promise<MemoryInUse>((resolve) => this.#child.once('message', (message) => resolve(message as MemoryInUse)));
      this.#child.send('memory');
      return await Promise.race([answer, timeout.promise]);
    } finally {
      timeout.clear();
    }
  }

  /** Ends it with SIGTERM, then reads what it left behind before that is removed. */
  async stop<T>(read: () => T | Promise<T>): Promise<T> {
    try {
      await this.#terminate();
      return await read();
    } finally {
      this.#removeData();
    }
  }

  async #terminate(): Promise<void> {
    this.#child.kill('SIGTERM');
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), STOP_TIMEOUT_MS);
    await this.#ended;
    clearTimeout(timer);
  }
}

interface StartedProcess {
  readonly child: ChildProcess;
  readonly ended: Promise<string>;
  readonly removeData: () => void;
  errors(): string;
}

function spawnServer(program: ServerProgram, mode: ServerMode, prefix: readonly string[]): StartedProcess {
  const dataFolder = mkdtempSync(join(tmpdir(), 'mcp-blocks-bench-'));
  const removeData = () => {
    process.off('exit', removeData);
    rmSync(dataFolder, { recursive: true, force: true });
  };
  // When the run is interrupted, too.
  process.once('exit', removeData);
  const [command, ...args] = [
    ...prefix,
    process.execPath,
    '--expose-gc',
    '--import',
    PROBE,
    program.file,
    mode,
    dataFolder,
    ...(program.args ?? []),
  ];
  const child = spawn(command as string, args, {
    cwd: program.cwd,
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    env: { ...process.env, NODE_ENV: 'production', MCP_USE_ANONYMIZED_TELEMETRY: 'false' },
  });
  let errors = '';
  child.stderr?.on('data', (chunk: Buffer) => (errors = (errors + chunk.toString()).slice(-600)));
  const ended = new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('exit', (code, signal) => resolve(`it ended with ${code ?? signal}`));
  });
  return { child, ended, removeData, errors: () => errors.trim() };
}

async function endProcess({ child, ended, removeData }: StartedProcess): Promise<void> {
  child.kill('SIGKILL');
  await ended;
  removeData();
}

/** The first line that is a JSON object; frameworks print banners of their own. */
function announcementOf(child: ChildProcess): Promise<ServerAnnouncement> {
  return new Promise((resolve) => {
    createInterface({ input: child.stdout as NodeJS.ReadableStream }).on('line', (line) => {
      if (!line.startsWith('{"port":')) return;
      resolve(JSON.parse(line) as ServerAnnouncement);
    });
  });
}

function rejectAfter(timeoutMs: number, message: string) {
  let timer: NodeJS.Timeout | undefined;
  const promise = new Promise<never>((_, reject) => (timer = setTimeout(() => reject(new Error(message)), timeoutMs)));
  return { promise, clear: () => clearTimeout(timer) };
}
