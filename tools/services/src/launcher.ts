import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync, readdirSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import type { ServiceDefinition } from './definitions.ts';

/** How a server will be run. */
export type Launcher = { readonly kind: 'executable'; readonly path: string } | { readonly kind: 'docker' };

/** The machine as the search sees it; tests give their own. */
export interface Machine {
  readonly searchPath: string;
  readonly platform: string;
  /** Runs a command to its end; true if it exited with 0. */
  succeeds(command: string, args: readonly string[]): boolean;
  /** True for root. */
  readonly isRoot: boolean;
  log(line: string): void;
}

export const thisMachine: Machine = {
  // Debian keeps daemons in sbin, which is not on everybody's PATH.
  get searchPath() {
    return [process.env['PATH'] ?? '', '/usr/sbin', '/usr/local/sbin', '/usr/local/bin', '/opt/homebrew/bin', ...postgresFolders()].join(
      delimiter,
    );
  },
  platform: process.platform,
  succeeds: (command, args) => spawnSync(command, [...args], { stdio: 'ignore', timeout: 300_000 }).status === 0,
  isRoot: process.getuid?.() === 0,
  log: (line) => process.stderr.write(`${line}\n`),
};

/** Debian keeps one folder a version; the newest first. */
function postgresFolders(): string[] {
  const root = '/usr/lib/postgresql';
  if (!existsSync(root)) return [];
  const versions = readdirSync(root).sort((a, b) => Number(b) - Number(a));
  return versions.map((version) => join(root, version, 'bin'));
}

/**
 * Installs the package without leaving its daemon running: policy-rc.d is Debian's own switch for that
 * and is taken away again if it was not there before.
 */
const INSTALL = `set -e
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  trap 'rm -f "$policy"' EXIT
  printf '#!/bin/sh\\nexit 101\\n' > "$policy"
  chmod 755 "$policy"
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
apt-get install -y -q --no-install-recommends "$1"`;

/**
 * Finds a way to run the server: on PATH, else Debian's package through apt-get where that is allowed,
 * else Docker.
 *
 * @throws Error saying what to install.
 */
export function findLauncher(definition: ServiceDefinition, machine: Machine = thisMachine): Launcher {
  const found = findExecutable(definition.executable, machine.searchPath);
  if (found !== undefined) return { kind: 'executable', path: found };
  const tried = [`${definition.executable} is not on PATH`];

  const installed = install(definition, machine, tried);
  if (installed !== undefined) return { kind: 'executable', path: installed };

  if (machine.succeeds('docker', ['info'])) return { kind: 'docker' };
  tried.push('no Docker engine answers `docker info`');

  throw new Error(
    `The tests need a real ${definition.name} and none can be started here: ${tried.join('; ')}. ` +
      `Install it (${definition.manualInstall}), or start Docker, or point ${definition.variable} at a running server ` +
      `(for example ${definition.variable}=${definition.url(definition.docker.port)}).`,
  );
}

function install(definition: ServiceDefinition, machine: Machine, tried: string[]): string | undefined {
  if (machine.platform !== 'linux' || findExecutable('apt-get', machine.searchPath) === undefined) {
    tried.push('there is no apt-get to install it with');
    return undefined;
  }
  const script = ['sh', '-c', INSTALL, 'sh', definition.debianPackage];
  const command = machine.isRoot ? script : machine.succeeds('sudo', ['-n', 'true']) ? ['sudo', '-n', ...script] : undefined;
  if (command === undefined) {
    tried.push('apt-get needs root or a sudo that asks for no password');
    return undefined;
  }
  machine.log(`Installing Debian's ${definition.debianPackage} for the tests…`);
  const [program, ...args] = command as [string, ...string[]];
  if (machine.succeeds(program, args)) {
    const found = findExecutable(definition.executable, machine.searchPath);
    if (found !== undefined) return found;
  }
  tried.push(`apt-get install ${definition.debianPackage} failed`);
  return undefined;
}

function findExecutable(name: string, searchPath: string): string | undefined {
  for (const folder of searchPath.split(delimiter)) {
    if (folder === '') continue;
    const path = join(folder, name);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // Not in this folder.
    }
  }
  return undefined;
}
