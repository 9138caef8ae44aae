import { spawn, spawnSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import type { ServiceDefinition } from './definitions/index.ts';
import { freePorts } from './free-ports.ts';
import { type GuardedProcess, type Identity, newDataFolder, removeDataFolder, startGuarded } from './guarded-process.ts';
import type { Launcher } from './launcher.ts';

/** A running server of ours. */
export interface ServerProcess {
  readonly url: string;
  /** Ends it (SIGTERM or what it asks for, SIGKILL after 2 s) and removes its data. Idempotent. */
  stop(): Promise<void>;
}

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
  const { name, sidePortCount = 0 } = definition;
  const [port, ...sidePorts] = (await freePorts(1 + sidePortCount)) as [number, ...number[]];
  const ready = () => definition.answers(port);
  const url = definition.url(port);
  if (launcher.kind === 'docker') {
    const container = `mcp-blocks-${name}-${port}`;
    const started = await startGuarded({ name, command: 'docker', args: dockerArgs(definition, container, port), ready, container });
    return { url, stop: () => started.stop() };
  }
  const identity = identityFor(definition);
  const dataDir = newDataFolder(name, identity);
  if (definition.prepare !== undefined) {
    try {
      await prepare(join(dirname(launcher.path), definition.prepare.program), definition.prepare.args(dataDir), identity);
    } catch (error) {
      removeDataFolder(dataDir);
      throw error;
    }
  }
  const args = definition.args({ host: '127.0.0.1', port, sidePorts, dataDir });
  const { stopSignal } = definition;
  const started: GuardedProcess = await startGuarded({
    ...{ name, command: launcher.path, args, ready, dataDir, identity },
    ...(stopSignal === undefined ? {} : { stopSignal }),
  });
  return { url, stop: () => started.stop() };
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

function dockerArgs(definition: ServiceDefinition, container: string, port: number): string[] {
  const inside = definition.docker;
  return [
    ...['run', '--rm', '--name', container, '--publish', `127.0.0.1:${port}:${inside.port}`],
    ...(inside.env ?? []).flatMap((variable) => ['--env', variable]),
    definition.dockerImage,
    definition.executable,
    ...definition.args({
      host: '0.0.0.0',
      port: inside.port,
      sidePorts: Array.from({ length: definition.sidePortCount ?? 0 }, (_, index) => inside.port + 1 + index),
      dataDir: inside.dataDir,
    }),
  ];
}
