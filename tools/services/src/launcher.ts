import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync, readdirSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';
import type { ServiceDefinition } from './definitions/index.ts';

/** How a server will be run. */
export type Launcher = { readonly kind: 'executable'; readonly path: string } | { readonly kind: 'docker' };

/** A program and where it comes from. */
export interface Installable {
  readonly executable: string;
  readonly debianPackage: string;
  /** The older Debian release that has the package, where the present one has it no more. */
  readonly debianRelease?: 'bullseye';
}

/** The machine as the search sees it; tests give their own. */
export interface Machine {
  readonly searchPath: string;
  /** The folder for packages of older releases, which are unpacked instead of installed. */
  readonly cacheFolder: string;
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
    const path = process.env['PATH'] ?? '';
    return [path, '/usr/sbin', '/usr/local/sbin', '/usr/local/bin', '/opt/homebrew/bin', ...postgresFolders()].join(delimiter);
  },
  cacheFolder: join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'mcp-blocks'),
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
 * Unpacks a package of an older release into a folder of its own, with package lists of its own and from the
 * mirror this machine uses: what is installed stays as it is, and no root is needed. apt checks the signatures.
 */
const UNPACK = `set -e
package=$1 release=$2 folder=$3
site=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | grep '/debian/*$' | head -n 1)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/root"
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $site $release main" > "$work/sources.list"
cd "$work"
set -- -q -o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts=- \\
  -o Dir::State::Lists="$work/lists" -o Dir::Cache="$work/cache" -o APT::Sandbox::User="$(id -un)"
apt-get "$@" update
apt-get "$@" download "$package"
dpkg -x "$package"_*.deb root
mkdir -p "$(dirname "$folder")"
rm -rf "$folder"
mv root "$folder"`;

/**
 * Finds a way to run the server: on PATH, else Debian's package through apt-get where that is allowed,
 * else Docker.
 *
 * @throws Error saying what to install.
 */
export function findLauncher(definition: ServiceDefinition, machine: Machine = thisMachine): Launcher {
  const tried: string[] = [];
  const path = findOrInstall(definition, machine, tried);
  if (path !== undefined) return { kind: 'executable', path };

  if (machine.succeeds('docker', ['info'])) return { kind: 'docker' };
  tried.push('no Docker engine answers `docker info`');

  throw new Error(
    `The tests need a real ${definition.name} and none can be started here: ${tried.join('; ')}. ` +
      `Install it (${definition.manualInstall}), or start Docker, or point ${definition.variable} at a running server ` +
      `(for example ${definition.variable}=${definition.url(definition.docker.port)}).`,
  );
}

/** The path of the program, installed if need be; `undefined`, and why in `tried`, if that cannot be done here. */
export function findOrInstall(program: Installable, machine: Machine, tried: string[]): string | undefined {
  const { executable, debianPackage, debianRelease } = program;
  const folder = join(machine.cacheFolder, `${debianPackage}-${debianRelease}`);
  const searchPath = [machine.searchPath, join(folder, 'usr/bin'), join(folder, 'usr/sbin')].join(delimiter);
  const found = findExecutable(executable, searchPath);
  if (found !== undefined) return found;
  tried.push(`${executable} is not on PATH`);

  if (machine.platform !== 'linux' || findExecutable('apt-get', machine.searchPath) === undefined) {
    tried.push('there is no apt-get to install it with');
    return undefined;
  }
  const command =
    debianRelease === undefined ? installCommand(debianPackage, machine) : ['sh', '-c', UNPACK, 'sh', debianPackage, debianRelease, folder];
  if (command === undefined) {
    tried.push('apt-get needs root or a sudo that asks for no password');
    return undefined;
  }
  machine.log(`Installing Debian's ${debianPackage} for the tests…`);
  const [name, ...args] = command as [string, ...string[]];
  if (machine.succeeds(name, args)) {
    const installed = findExecutable(executable, searchPath);
    if (installed !== undefined) return installed;
  }
  tried.push(`apt-get could not install ${debianPackage}`);
  return undefined;
}

function installCommand(debianPackage: string, machine: Machine): string[] | undefined {
  const script = ['sh', '-c', INSTALL, 'sh', debianPackage];
  if (machine.isRoot) return script;
  return machine.succeeds('sudo', ['-n', 'true']) ? ['sudo', '-n', ...script] : undefined;
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
