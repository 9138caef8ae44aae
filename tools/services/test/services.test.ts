import { spawn, spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { DEFINITIONS } from '../src/definitions/index.ts';
import { freePorts } from '../src/free-ports.ts';
import { findLauncher, type Machine } from '../src/launcher.ts';
import { findProgram, startProgram } from '../src/programs.ts';
import { startServices } from '../src/services.ts';

const CLI = fileURLToPath(new URL('../src/cli.ts', import.meta.url));

function portOpen(url: string): Promise<boolean> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve) => {
    const socket = connect({ host: hostname, port: Number(port) }, () => resolve(socket.destroy() !== undefined));
    socket.once('error', () => resolve(false));
  });
}

it('gives different ports', async () => {
  const ports = await freePorts(20);
  expect(new Set(ports).size).toBe(20);
});

it('starts the servers, each answering at the URL it is announced with, and leaves nothing behind', async () => {
  const services = await startServices(['redis', 'etcd', 'postgres'], {});
  const { MCP_BLOCKS_REDIS_URL: redis, MCP_BLOCKS_ETCD_URL: etcd, MCP_BLOCKS_POSTGRES_URL: postgres } = services.env;
  expect(await DEFINITIONS.redis.answers(Number(new URL(redis!).port))).toBe(true);
  expect(await DEFINITIONS.etcd.answers(Number(new URL(etcd!).port))).toBe(true);
  expect(await DEFINITIONS.postgres.answers(Number(new URL(postgres!).port))).toBe(true);
  await services.stop();
  await services.stop();
  expect([await portOpen(redis!), await portOpen(etcd!), await portOpen(postgres!)]).toEqual([false, false, false]);
});

it('starts Consul, which has elected itself when it is announced', async () => {
  const services = await startServices(['consul'], {});
  const url = services.env['MCP_BLOCKS_CONSUL_URL'] as string;
  expect(await (await fetch(`${url}/v1/status/leader`)).json()).toMatch(/^127\.0\.0\.1:/);
  await services.stop();
  expect(await portOpen(url)).toBe(false);
});

it('starts a program with a configuration of the test, and removes what it wrote', async () => {
  let config = '';
  const proxy = await startProgram('haproxy', {
    portCount: 2,
    args: ({ ports: [port, statsPort], dataDir }) => {
      config = join(dataDir, 'haproxy.cfg');
      const lines = ['defaults', ' mode http', ' timeout client 5s', ' timeout server 5s', ' timeout connect 1s'];
      lines.push('frontend f', ` bind 127.0.0.1:${port}`, ' http-request return status 200 content-type text/plain string here');
      lines.push('frontend stats', ` bind 127.0.0.1:${statsPort}`, ' stats enable', '');
      writeFileSync(config, lines.join('\n'));
      return ['-f', config, '-db'];
    },
    ready: ([port]) => portOpen(`http://127.0.0.1:${port}`),
  });
  const url = `http://127.0.0.1:${proxy.ports[0]}`;
  expect(await (await fetch(url)).text()).toBe('here');
  await proxy.stop();
  expect([await portOpen(url), existsSync(config)]).toEqual([false, false]);
});

it('uses a server given in the environment and starts none', async () => {
  const noMachine = new Proxy({} as Machine, { get: () => expect.unreachable('the machine was searched') });
  const services = await startServices(['redis'], { MCP_BLOCKS_REDIS_URL: 'redis://elsewhere:1' }, noMachine);
  expect(services.env).toEqual({ MCP_BLOCKS_REDIS_URL: 'redis://elsewhere:1' });
  await services.stop();
});

describe('the search for a server', () => {
  const folder = mkdtempSync(join(tmpdir(), 'mcp-blocks-search-'));
  afterAll(() => rmSync(folder, { recursive: true }));
  const executable = (name: string) => {
    writeFileSync(join(folder, name), '#!/bin/sh\n');
    chmodSync(join(folder, name), 0o755);
  };
  const machine = (succeeds: (line: string) => boolean, isRoot = false) => {
    const commands: string[] = [];
    return {
      commands,
      searchPath: folder,
      cacheFolder: join(folder, 'cache'),
      platform: 'linux',
      isRoot,
      log: () => {},
      succeeds: (command: string, args: readonly string[]) => {
        const line = [command, ...args].join(' ');
        commands.push(line);
        return succeeds(line);
      },
    };
  };

  it('says what to install when nothing is there', () => {
    expect(() =>
      findLauncher(
        DEFINITIONS.redis,
        machine(() => false),
      ),
    ).toThrow(/redis-server is not on PATH.*apt-get install redis-server.*MCP_BLOCKS_REDIS_URL/s);
  });

  it('falls back to Docker', () => {
    expect(
      findLauncher(
        DEFINITIONS.etcd,
        machine((line) => line === 'docker info'),
      ),
    ).toEqual({ kind: 'docker' });
  });

  it.each([
    ['as root', true, /^sh -c /],
    ['through sudo', false, /^sudo -n sh -c /],
  ])("installs Debian's package %s", (_how, isRoot, command) => {
    executable('apt-get');
    const debian = machine((line) => {
      if (line.includes('apt-get install')) executable('redis-server');
      return true;
    }, isRoot);
    try {
      expect(findLauncher(DEFINITIONS.redis, debian)).toEqual({ kind: 'executable', path: join(folder, 'redis-server') });
      expect(debian.commands.at(-1)).toMatch(command);
    } finally {
      rmSync(join(folder, 'redis-server'), { force: true });
      rmSync(join(folder, 'apt-get'));
    }
  });

  it('unpacks a package that only an older release has, without root', () => {
    executable('apt-get');
    const unpacked = join(folder, 'cache/consul-bullseye/usr/bin');
    const debian = machine((line) => {
      if (!line.includes('dpkg -x')) return false;
      mkdirSync(unpacked, { recursive: true });
      executable('cache/consul-bullseye/usr/bin/consul');
      return true;
    });
    const found = { kind: 'executable', path: join(unpacked, 'consul') };
    expect(findLauncher(DEFINITIONS.consul, debian)).toEqual(found);
    expect(debian.commands).toHaveLength(1);
    // The second time it is there.
    expect(findLauncher(DEFINITIONS.consul, debian)).toEqual(found);
    expect(debian.commands).toHaveLength(1);
    rmSync(join(folder, 'apt-get'));
  });

  it('says what to install when a program is missing, and takes the path it is given', () => {
    const bare = machine(() => false);
    expect(() => findProgram('haproxy', {}, bare)).toThrow(/haproxy is not on PATH.*apt-get install haproxy.*MCP_BLOCKS_HAPROXY/s);
    expect(findProgram('haproxy', { MCP_BLOCKS_HAPROXY: '/opt/haproxy' }, bare)).toBe('/opt/haproxy');
  });

  it('prefers what is on PATH', () => {
    executable('etcd');
    const there = machine(() => true);
    expect(findLauncher(DEFINITIONS.etcd, there)).toEqual({ kind: 'executable', path: join(folder, 'etcd') });
    expect(there.commands).toEqual([]);
  });
});

describe('the command', () => {
  const env = { ...process.env, MCP_BLOCKS_REDIS_URL: '' };

  it('runs a command with the URLs and ends with its exit code', () => {
    const { status, stdout } = spawnSync(process.execPath, [CLI, 'redis', '--', 'sh', '-c', 'echo $MCP_BLOCKS_REDIS_URL; exit 3'], {
      encoding: 'utf8',
      env,
    });
    expect(stdout).toMatch(/^redis:\/\/127\.0\.0\.1:\d+\n$/);
    expect(status).toBe(3);
  });

  it('refuses an unknown service', () => {
    const { status, stderr } = spawnSync(process.execPath, [CLI, 'mongo'], { encoding: 'utf8', env });
    expect(status).toBe(2);
    expect(stderr).toContain("There is no service 'mongo'");
  });

  it('takes the servers with it even when it is killed', async () => {
    const cli = spawn(process.execPath, [CLI, 'redis'], { env, stdio: ['ignore', 'pipe', 'ignore'] });
    const line = await new Promise<string>((resolve) => cli.stdout.once('data', (data: Buffer) => resolve(data.toString())));
    const url = line.trim().replace('export MCP_BLOCKS_REDIS_URL=', '');
    expect(await portOpen(url)).toBe(true);
    cli.kill('SIGKILL');
    // Another process ends it: there is nothing to await but its effect.
    while (await portOpen(url)) await sleep(10);
  });
});
