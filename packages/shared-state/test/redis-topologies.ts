import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type RunningProgram, startProgram } from '@mcp-blocks/services';
import { Redis } from 'ioredis';
import { onTestFinished } from 'vitest';

export const PASSWORD = 'correct horse';
const NAME = 'main';
const wait = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** A primary, its replica and three Sentinels, all with passwords. */
export async function startSentinels() {
  const primary = await server(['--requirepass', PASSWORD, '--masterauth', PASSWORD]);
  const replicaOf = ['--replicaof', '127.0.0.1', String(primary.ports[0])];
  const replica = await server(['--requirepass', PASSWORD, '--masterauth', PASSWORD, ...replicaOf]);
  await eventually(async () => (await ask(replica, ['INFO', 'replication'])).includes('master_link_status:up'));
  const sentinels = await Promise.all([1, 2, 3].map(() => sentinel(primary.ports[0])));
  for (const each of sentinels) {
    await eventually(async () => {
      const seen = (await ask(each, ['SENTINEL', 'MASTER', NAME])).split(',');
      const count = (what: string) => Number(seen[seen.indexOf(what) + 1]);
      return count('num-slaves') === 1 && count('num-other-sentinels') === 2;
    });
  }
  return {
    url: `redis://:${encodeURIComponent(PASSWORD)}@${NAME}`,
    sentinels: sentinels.map(({ ports }) => `redis://:${encodeURIComponent(PASSWORD)}@127.0.0.1:${ports[0]}`),
    primary,
    replica,
    sentinel: sentinels[0] as RunningProgram,
  };
}

/** Three primaries with a third of the slots each, and a replica of the first. */
export async function startCluster() {
  const nodes = await Promise.all([1, 2, 3, 4].map(() => clusterNode()));
  const [first, second, third, replica] = nodes as [RunningProgram, RunningProgram, RunningProgram, RunningProgram];
  for (const { ports } of [second, third, replica]) {
    await ask(first, ['CLUSTER', 'MEET', '127.0.0.1', String(ports[0]), String(ports[1])]);
  }
  await ask(first, ['CLUSTER', 'ADDSLOTSRANGE', '0', '5460']);
  await ask(second, ['CLUSTER', 'ADDSLOTSRANGE', '5461', '10922']);
  await ask(third, ['CLUSTER', 'ADDSLOTSRANGE', '10923', '16383']);
  const id = await ask(first, ['CLUSTER', 'MYID']);
  await eventually(async () => (await ask(replica, ['CLUSTER', 'NODES'])).includes(id));
  await ask(replica, ['CLUSTER', 'REPLICATE', id]);
  await eventually(async () => (await ask(replica, ['INFO', 'replication'])).includes('master_link_status:up'));
  for (const node of nodes) {
    await eventually(async () => {
      const info = await ask(node, ['CLUSTER', 'INFO']);
      const isWhole = info.includes('cluster_state:ok') && info.includes('cluster_known_nodes:4');
      return isWhole && (await ask(node, ['CLUSTER', 'SLOTS'])).includes(String(replica.ports[0]));
    });
  }
  const url = ({ ports }: RunningProgram) => `redis://:${encodeURIComponent(PASSWORD)}@127.0.0.1:${ports[0]}`;
  return { urls: [url(second), url(third)], first, replica, nodes };
}

/** As -9 does. */
export function kill({ pid }: RunningProgram): void {
  process.kill(pid as number, 'SIGKILL');
}

/** Repeats `check` until it resolves with true; failures are tries as well. */
export async function eventually(check: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 120_000;
  for (;;) {
    const isTrue = await check().catch((error: unknown) => {
      if (Date.now() > deadline) throw error;
      return false;
    });
    if (isTrue) return;
    if (Date.now() > deadline) throw new Error('Not within two minutes');
    await wait(25);
  }
}

/** What a server answers, as text. */
export async function ask({ ports }: RunningProgram, [command, ...args]: [string, ...string[]]): Promise<string> {
  const client = new Redis(ports[0], '127.0.0.1', { password: PASSWORD, lazyConnect: true, retryStrategy: () => null });
  client.on('error', () => {});
  try {
    await client.connect();
    return String(await client.call(command, args));
  } finally {
    client.disconnect();
  }
}

function server(args: readonly string[], portCount = 1): Promise<RunningProgram> {
  return start(portCount, ({ ports, dataDir }) => [
    ...['--port', String(ports[0]), '--bind', '127.0.0.1', '--dir', dataDir],
    ...['--save', '', '--appendonly', 'no', '--repl-diskless-sync-delay', '0', ...args],
  ]);
}

function clusterNode(): Promise<RunningProgram> {
  return start(2, ({ ports: [port, busPort], dataDir }) => [
    ...['--port', String(port), '--bind', '127.0.0.1', '--dir', dataDir, '--save', '', '--repl-diskless-sync-delay', '0'],
    ...['--cluster-enabled', 'yes', '--cluster-port', String(busPort), '--cluster-node-timeout', '3000'],
    ...['--requirepass', PASSWORD, '--masterauth', PASSWORD],
  ]);
}

function sentinel(primaryPort: number): Promise<RunningProgram> {
  return start(1, ({ ports, dataDir }) => {
    // A Sentinel writes what it learns into its configuration.
    const file = join(dataDir, 'sentinel.conf');
    const lines = [
      ...[`port ${ports[0]}`, 'bind 127.0.0.1', `dir ${dataDir}`, `requirepass "${PASSWORD}"`],
      ...[`sentinel monitor ${NAME} 127.0.0.1 ${primaryPort} 2`, `sentinel auth-pass ${NAME} "${PASSWORD}"`],
      ...[`sentinel sentinel-pass "${PASSWORD}"`, `sentinel down-after-milliseconds ${NAME} 3000`],
      // An election that came to nothing is repeated after twice that.
      `sentinel failover-timeout ${NAME} 5000`,
    ];
    writeFileSync(file, `${lines.join('\n')}\n`);
    return [file, '--sentinel'];
  });
}

type Arguments = Parameters<typeof startProgram>[1]['args'];

async function start(portCount: number, args: Arguments): Promise<RunningProgram> {
  const ready = async ([port]: readonly number[]) => {
    const probe = new Redis(port as number, '127.0.0.1', { password: PASSWORD, lazyConnect: true, retryStrategy: () => null });
    probe.on('error', () => {});
    const isUp = await probe.connect().then(
      () => true,
      () => false,
    );
    probe.disconnect();
    return isUp;
  };
  const program = await startProgram('redis-server', { portCount, args, ready });
  onTestFinished(() => program.stop());
  return program;
}
