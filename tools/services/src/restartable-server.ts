import { DEFINITIONS, type ServiceName } from './definitions/index.ts';
import { freePorts } from './free-ports.ts';
import { type GuardedProcess, newDataFolder, removeDataFolder, startGuarded } from './guarded-process.ts';
import { findOrInstall, type Machine, thisMachine } from './launcher.ts';

/** A server of ours that can be killed and started again on the same port with the same data. */
export interface RestartableServer {
  readonly url: string;
  /** SIGKILL; resolves when it is gone. Its data stays. */
  kill(): Promise<void>;
  /** Starts it again; resolves when it answers. */
  start(): Promise<void>;
  /** Kills it and removes its data. */
  stop(): Promise<void>;
}

/**
 * Starts a server of this machine, never one whose URL is given in the environment nor one in a container.
 *
 * @param extraArgs - added to its command line.
 * @throws Error saying what to install.
 */
export async function startRestartable(
  name: Exclude<ServiceName, 'postgres'>,
  extraArgs: readonly string[] = [],
  machine: Machine = thisMachine,
): Promise<RestartableServer> {
  const definition = DEFINITIONS[name];
  const tried: string[] = [];
  const command = findOrInstall(definition, machine, tried);
  if (command === undefined) throw new Error(`${name} is needed: ${tried.join('; ')}. Install it (${definition.manualInstall}).`);
  const [port, ...sidePorts] = (await freePorts(1 + (definition.sidePortCount ?? 0))) as [number, ...number[]];
  const dataDir = newDataFolder(name);
  const args = [...definition.args({ host: '127.0.0.1', port, sidePorts, dataDir }), ...extraArgs];
  let running: GuardedProcess | undefined;
  const server: RestartableServer = {
    url: definition.url(port),
    async kill() {
      await running?.stop();
      running = undefined;
    },
    async start() {
      running ??= await startGuarded({ name, command, args, ready: () => definition.answers(port), stopSignal: 'SIGKILL' });
    },
    async stop() {
      await server.kill();
      removeDataFolder(dataDir);
    },
  };
  try {
    await server.start();
  } catch (error) {
    await server.stop();
    throw error;
  }
  return server;
}
