import { freePorts } from './free-ports.ts';
import { type GuardedProcess, newDataFolder, removeDataFolder, startGuarded } from './guarded-process.ts';
import { findOrInstall, type Installable, type Machine, thisMachine } from './launcher.ts';

export type ProgramName = 'chromium' | 'dnsmasq' | 'haproxy' | 'nginx' | 'redis-server';

interface Program extends Installable {
  /** The environment variable that may name its path. */
  readonly variable: string;
  readonly manualInstall: string;
}

const PROGRAMS: Readonly<Record<ProgramName, Program>> = {
  chromium: {
    variable: 'MCP_BLOCKS_CHROMIUM',
    executable: 'chromium',
    debianPackage: 'chromium',
    manualInstall: 'Debian: apt-get install chromium; elsewhere any Chromium or Chrome, its path in MCP_BLOCKS_CHROMIUM',
  },
  dnsmasq: {
    variable: 'MCP_BLOCKS_DNSMASQ',
    executable: 'dnsmasq',
    debianPackage: 'dnsmasq-base',
    manualInstall: 'Debian/Ubuntu: apt-get install dnsmasq-base; macOS: brew install dnsmasq',
  },
  haproxy: {
    variable: 'MCP_BLOCKS_HAPROXY',
    executable: 'haproxy',
    debianPackage: 'haproxy',
    manualInstall: 'Debian/Ubuntu: apt-get install haproxy; macOS: brew install haproxy',
  },
  nginx: {
    variable: 'MCP_BLOCKS_NGINX',
    executable: 'nginx',
    debianPackage: 'nginx-light',
    manualInstall: 'Debian/Ubuntu: apt-get install nginx-light; macOS: brew install nginx',
  },
  'redis-server': {
    variable: 'MCP_BLOCKS_REDIS_SERVER',
    executable: 'redis-server',
    debianPackage: 'redis-server',
    manualInstall: 'Debian/Ubuntu: apt-get install redis-server; macOS: brew install redis',
  },
};

export const PROGRAM_NAMES: readonly ProgramName[] = ['chromium', 'dnsmasq', 'haproxy', 'nginx', 'redis-server'];

/**
 * The path of a program that tests configure and start on their own: what its environment variable says, on
 * PATH, or Debian's package, installed where that is allowed.
 *
 * @throws Error saying what to install.
 */
export function findProgram(
  name: ProgramName,
  given: Readonly<Record<string, string | undefined>> = process.env,
  machine: Machine = thisMachine,
): string {
  const program = PROGRAMS[name];
  const tried: string[] = [];
  const path = given[program.variable] || findOrInstall(program, machine, tried);
  if (path !== undefined) return path;
  throw new Error(
    `The tests need ${name} and it is not here: ${tried.join('; ')}. Install it (${program.manualInstall}), ` +
      `or give its path in ${program.variable}.`,
  );
}

/** How to start a program. */
export interface ProgramOptions {
  /** How many free loopback ports it needs. Default: 1. */
  readonly portCount?: number;
  /** Its command line; may write a configuration into `dataDir` first. */
  args(place: { readonly ports: readonly [number, ...number[]]; readonly dataDir: string }): readonly string[];
  ready(ports: readonly [number, ...number[]]): Promise<boolean>;
}

/** A running program; it ends with this process at the latest. */
export interface RunningProgram extends GuardedProcess {
  readonly ports: readonly [number, ...number[]];
}

/** Starts a program on free loopback ports with a throw-away folder, and resolves when it is ready. */
export async function startProgram(name: ProgramName, options: ProgramOptions): Promise<RunningProgram> {
  const command = findProgram(name);
  const ports = (await freePorts(options.portCount ?? 1)) as [number, ...number[]];
  const dataDir = newDataFolder(name);
  let args: readonly string[];
  try {
    args = options.args({ ports, dataDir });
  } catch (error) {
    removeDataFolder(dataDir);
    throw error;
  }
  const started = await startGuarded({ name, command, args, dataDir, ready: () => options.ready(ports) });
  return { ...started, ports };
}
