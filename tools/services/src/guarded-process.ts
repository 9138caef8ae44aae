import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { chownSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** Who a process runs as; nothing said: who we are. */
export interface Identity {
  readonly uid?: number;
  readonly gid?: number;
}

/** A process that ends with us, whatever ends us. */
export interface GuardedProcess {
  readonly pid: number | undefined;
  /** The end of what it has written to both its outputs. */
  output(): string;
  /** Ends it (SIGTERM or what it asks for, SIGKILL after 2 s) and removes its data. Idempotent. */
  stop(): Promise<void>;
}

/** What to start. */
export interface GuardedProcessOptions {
  /** For messages. */
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  /** Asked again and again until it resolves with true. */
  ready(): Promise<boolean>;
  /** Removed when the process has ended. */
  readonly dataDir?: string;
  readonly identity?: Identity;
  /** Default: SIGTERM. */
  readonly stopSignal?: NodeJS.Signals;
  /** The Docker container the command runs, to be removed with it. */
  readonly container?: string;
}

const START_TIMEOUT_MS = 30_000;

/** A fresh folder for a process to keep its data in. */
export function newDataFolder(name: string, identity: Identity = {}): string {
  const folder = mkdtempSync(join(tmpdir(), `mcp-blocks-${name}-`));
  if (identity.uid !== undefined && identity.gid !== undefined) chownSync(folder, identity.uid, identity.gid);
  return folder;
}

export function removeDataFolder(folder: string): void {
  rmSync(folder, { recursive: true, force: true });
}

/**
 * Starts a process and resolves when it is ready.
 *
 * @throws Error with the end of its output if it exits, or is not ready within 30 s.
 */
export async function startGuarded(options: GuardedProcessOptions): Promise<GuardedProcess> {
  const { name, command, args, dataDir, identity = {}, stopSignal = 'SIGTERM', container } = options;
  const child = spawn(command, [...args], { stdio: ['ignore', 'pipe', 'pipe'], detached: true, ...identity });
  let output = '';
  const collect = (chunk: Buffer) => {
    output = (output + chunk.toString()).slice(-2000);
  };
  child.stdout.on('data', collect);
  child.stderr.on('data', collect);
  let ended: string | undefined;
  const exited = new Promise<void>((resolve) => {
    child.once('error', (error) => resolve(void (ended = error.message)));
    child.once('exit', (code, signal) => resolve(void (ended = `it exited with ${code ?? signal}`)));
  });
  const watchdog = guard(child, dataDir, container);

  let stopping: Promise<void> | undefined;
  const stop = () =>
    (stopping ??= (async () => {
      if (container !== undefined) spawnSync('docker', ['rm', '-f', container], { stdio: 'ignore' });
      if (ended === undefined) child.kill(stopSignal);
      const timer = setTimeout(() => child.kill('SIGKILL'), 2000);
      await exited;
      clearTimeout(timer);
      watchdog.kill('SIGKILL');
      if (dataDir !== undefined) removeDataFolder(dataDir);
    })());

  const deadline = Date.now() + START_TIMEOUT_MS;
  while (!(await options.ready())) {
    if (ended === undefined && Date.now() < deadline) {
      await sleep(25);
      continue;
    }
    const why = ended ?? `it did not answer within ${START_TIMEOUT_MS} ms`;
    await stop();
    throw new Error(`${name} could not be started: ${why}\n${output}`);
  }
  // Neither the process nor its guard keeps ours alive.
  for (const handle of [child, watchdog]) handle.unref();
  for (const pipe of [child.stdout, child.stderr, watchdog.stdin]) (pipe as unknown as { unref?(): void } | null)?.unref?.();
  return { pid: child.pid, output: () => output, stop };
}

/**
 * A shell that waits for the end of a pipe from us. However this process ends, SIGKILL included, the pipe
 * closes and the shell ends the server and removes its data.
 */
function guard(child: ChildProcess, dataDir: string | undefined, container: string | undefined): ChildProcess {
  const script = `cat >/dev/null; kill -9 "$1" 2>/dev/null; [ -z "$3" ] || docker rm -f "$3" >/dev/null 2>&1; [ -z "$2" ] || rm -rf "$2"`;
  return spawn('sh', ['-c', script, 'sh', String(child.pid ?? ''), dataDir ?? '', container ?? ''], {
    stdio: ['pipe', 'ignore', 'ignore'],
    // A group of its own: Ctrl-C in the terminal must not reach the guard before its work is done.
    detached: true,
  });
}
