import { execFile } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ServerProgram } from './contenders.ts';

interface Peer {
  /** Of the package that is measured. */
  readonly version: string;
  /** Everything its server imports, pinned. */
  readonly packages: Readonly<Record<string, string>>;
}

const ZOD = { zod: '4.6.7' };

/** The other frameworks, at the versions that are measured. */
export const PEERS = {
  'sdk-v1': { version: '1.32.2', packages: { '@modelcontextprotocol/sdk': '1.32.2', ...ZOD } },
  fastmcp: { version: '4.20.16', packages: { fastmcp: '4.20.16', ...ZOD } },
  'mcp-use': { version: '2.5.2', packages: { 'mcp-use': '2.5.2', ...ZOD } },
  'mcp-proxy': {
    version: '6.7.19',
    packages: { 'mcp-proxy': '6.7.19', '@modelcontextprotocol/client': '2.4.0', '@modelcontextprotocol/server': '2.4.0', ...ZOD },
  },
  tmcp: {
    version: '1.20.0',
    packages: {
      tmcp: '1.20.0',
      '@tmcp/transport-http': '0.9.0',
      '@tmcp/adapter-zod': '0.1.7',
      '@remix-run/node-fetch-server': '0.14.2',
      ...ZOD,
    },
  },
} as const satisfies Readonly<Record<string, Peer>>;

export type PeerName = keyof typeof PEERS;

const BENCH = fileURLToPath(new URL('..', import.meta.url));
const INSTALL_TIMEOUT_MS = 300_000;

/**
 * Installs a peer into `tools/bench/.peers/<name>`, a package of its own, and puts its server's source beside
 * it, so that the server's imports find the peer's packages and nothing of the workspace. What is installed
 * already is kept.
 *
 * @throws Error saying what npm said.
 */
export async function installPeer(name: PeerName): Promise<ServerProgram> {
  const folder = join(BENCH, '.peers', name);
  const manifest = `${JSON.stringify({ private: true, type: 'module', dependencies: PEERS[name].packages }, undefined, 2)}\n`;
  const installed = join(folder, '.installed.json');
  if (!existsSync(installed) || readFileSync(installed, 'utf8') !== manifest) {
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, 'package.json'), manifest);
    await npmInstall(folder);
    writeFileSync(installed, manifest);
  }
  // The same two paths as here, so that the server's relative import holds in both places.
  cpSync(join(BENCH, 'peers'), join(folder, 'peers'), { recursive: true });
  cpSync(join(BENCH, 'src', 'echo-tools.ts'), join(folder, 'src', 'echo-tools.ts'));
  return { file: join(folder, 'peers', `${name}.mjs`), cwd: folder };
}

function npmInstall(folder: string): Promise<void> {
  // No scripts of strangers are run; none of the peers needs one.
  const args = ['install', '--ignore-scripts', '--workspaces=false', '--no-audit', '--no-fund', '--no-package-lock', '--loglevel=error'];
  return new Promise((resolve, reject) => {
    execFile('npm', args, { cwd: folder, timeout: INSTALL_TIMEOUT_MS }, (error, _stdout, stderr) => {
      if (error === null) return resolve();
      const lines = stderr.split('\n').filter((line) => line.includes('error'));
      reject(new Error(`npm install failed: ${lines[0] ?? error.message}${lines[1] === undefined ? '' : `; ${lines[1]}`}`));
    });
  });
}
