import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { chownSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ServiceDefinition } from './definitions.ts';
import { freePorts } from './free-ports.ts';
import type { Launcher } from './launcher.ts';

/** A running server of ours. */
export interface ServerProcess {
  readonly url: string;
  /** Ends it (SIGTERM or what it asks for, SIGKILL after 2 s) and removes its data. Idempotent. */
  stop(): Promise<void>;
}

const START_TIMEOUT_MS = 30_000;
const ATTEMPTS = 3;

/** Starts the server on a free loopback port and resolves when it answers. */
export async function startServer(definition: ServiceDefinition, launcher: Launcher): Promise<ServerProcess> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await startOnce(definition, launcher);
    } catch (error) {
      // Most likely somebody took the port in between.
      if (attempt === ATTEMPTS) throw error;
    }
  }
}

async function startOnce(definition: ServiceDefinition, launcher: Launcher): Promise<ServerProcess> {
  const [port, sidePort] = (await freePorts(2)) as [number, number];
  const dataDir = mkdtempSync(join(tmpdir(), `mcp-blocks-${definition.name}-`));
  const container = launcher.kind === 'docker' ? `mcp-blocks-${definition.name}-${port}` : undefined;
  const identity = launcher.kind === 'executable' ? identityFor(definition) : {};
  if (identity.uid !== undefined && identity.gid !== undefined) chownSync(dataDir, identity.uid, identity.gid);
  if (launcher.kind === 'executable' && definition.prepare !== undefined) {
    try {
      await prepare(join(dirname(launcher.path), definition.prepare.program), definition.prepare.args(dataDir), identity);
    } catch (error) {
      rmSync(dataDir, { recursive: true, force: true });
      throw error;
    }
  }
  const child =
    launcher.kind === 'executable'
      ? spawn(launcher.path, definition.args({ host: '127.0.0.1', port, sidePort, dataDir }), { ...quiet, ...identity })
      : spawn('docker', dockerArgs(definition, container as string, port), quiet);

  let output = '';
  const collect = (chunk: Buffer) => {
    output = (output + chunk.toString()).slice(-2000);
  };
  child.stdout?.on('data', collect);
  child.stderr?.on('data', collect);
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
      if (ended === undefined) child.kill(definition.stopSignal ?? 'SIGTERM');
      const timer = setTimeout(() => child.kill('SIGKILL'), 2000);
      await exited;
      clearTimeout(timer);
      watchdog.kill('SIGKILL');
      rmSync(dataDir, { recursive: true, force: true });
    })());

  const deadline = Date.now() + START_TIMEOUT_MS;
  while (!(await definition.answers(port))) {
    if (ended === undefined && Date.now() < deadline) {
      await sleep(25);
      continue;
    }
    const why = ended ?? `it did not answer within ${START_TIMEOUT_MS} ms`;
    await stop();
    throw new Error(`${definition.name} could not be started: ${why}\n${output}`);
  }
  // Neither the server nor its guard keeps our process alive.
  for (const handle of [child, watchdog]) handle.unref();
  for (const pipe of [child.stdout, child.stderr, watchdog.stdin]) (pipe as unknown as { unref?(): void } | null)?.unref?.();
  return { url: definition.url(port), stop };
}

interface Identity {
  readonly uid?: number;
  readonly gid?: number;
}

/** Who to run the server as: ourselves, unless we are root and it refuses that. */
function identityFor({ unprivilegedUser }: ServiceDefinition): Identity {
  if (unprivilegedUser === undefined || process.getuid?.() !== 0) return {};
  for (const user of [unprivilegedUser, 'nobody']) {
    const [uid, gid] = ['-u', '-g'].map((which) => spawnSync('id', [which, user], { encoding: 'utf8' }).stdout?.trim());
    if (uid && gid) return { uid: Number(uid), gid: Number(gid) };
  }
  throw new Error(`There is no user ${unprivilegedUser} or nobody to run the server as`);
}

function prepare(program: string, args: readonly string[], identity: Identity): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, [...args], { stdio: ['ignore', 'ignore', 'pipe'], cwd: '/', ...identity });
    let output = '';
    child.stderr.on('data', (chunk: Buffer) => {
      output = (output + chunk.toString()).slice(-2000);
    });
    child.once('error', reject);
    child.once('exit', (code, signal) => {
      if (code === 0) resolve();
      else reject(new Error(`${program} ended with ${code ?? signal}\n${output}`));
    });
  });
}

const quiet = { stdio: ['ignore', 'pipe', 'pipe'] as ['ignore', 'pipe', 'pipe'], detached: true };

function dockerArgs(definition: ServiceDefinition, container: string, port: number): string[] {
  const inside = definition.docker;
  return [
    ...['run', '--rm', '--name', container, '--publish', `127.0.0.1:${port}:${inside.port}`],
    ...(inside.env ?? []).flatMap((variable) => ['--env', variable]),
    definition.dockerImage,
    definition.executable,
    ...definition.args({ host: '0.0.0.0', port: inside.port, sidePort: inside.port + 1, dataDir: inside.dataDir }),
  ];
}

/**
 * A shell that waits for the end of a pipe from us. However this process ends, SIGKILL included, the pipe
 * closes and the shell ends the server and removes its data.
 */
function guard(child: ChildProcess, dataDir: string, container: string | undefined): ChildProcess {
  const script = `cat >/dev/null; kill -9 "$1" 2>/dev/null; [ -z "$3" ] || docker rm -f "$3" >/dev/null 2>&1; rm -rf "$2"`;
  return spawn('sh', ['-c', script, 'sh', String(child.pid ?? ''), dataDir, container ?? ''], {
    stdio: ['pipe', 'ignore', 'ignore'],
    // A group of its own: Ctrl-C in the terminal must not reach the guard before its work is done.
    detached: true,
  });
}
