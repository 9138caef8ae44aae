import { fork } from 'node:child_process';
import { once } from 'node:events';
import { Agent, request } from 'node:http';
import { fileURLToPath } from 'node:url';
import { systemClock } from '@mcp-blocks/core';
import { type Connect, DistributedMCPCluster, type LoadBalancingStrategy, TransportFailure } from '@mcp-blocks/distributed-mcp-pattern';
import type { CheckResult } from './balance-checks.ts';
import { startHaproxy } from './balance-haproxy.ts';
import { strategy } from './balance-mutants.ts';

/** Callers, each with one request at a time. */
const CALLERS = 24;
/** The queue at the slow node needs time to form; only requests that begin after it count. */
const WARM_UP_MS = 600;
const ROUND_MS = 1_500;
/** Of two medians of the same thing on a busy machine: what the slow node's queue differs by from run to run. */
const TOLERANCE = 1.1;

const NODES = fileURLToPath(new URL('./balance-nodes.ts', import.meta.url));

interface Contender {
  readonly name: string;
  send(): Promise<void>;
}

/**
 * Beside HAProxy on the same nodes, one of them slow, with the same callers: our p99 with round-robin and
 * least-connections against that of its `roundrobin` and `leastconn`. Rounds are interleaved, medians are
 * compared. Both are seen from the caller: HAProxy with the hop it takes, ours, which chooses in the
 * caller's process, without one.
 */
export async function besideHaproxy(rounds: number, progress: (done: number) => void): Promise<CheckResult[]> {
  const nodes = fork(NODES, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  const agent = new Agent({ keepAlive: true, maxSockets: 1_000 });
  const clusters: DistributedMCPCluster[] = [];
  try {
    const [ports] = (await once(nodes, 'message')) as [number[]];
    const haproxy = await startHaproxy(ports);
    try {
      const ours = async (name: string, loadBalancingStrategy: LoadBalancingStrategy): Promise<Contender> => {
        const cluster = await startCluster(ports, agent, loadBalancingStrategy);
        clusters.push(cluster);
        return { name, send: async () => void (await cluster.route('ping')) };
      };
      const theirs = (name: 'roundrobin' | 'leastconn'): Contender => ({ name, send: () => get(haproxy.ports[name], agent) });
      const contenders = [
        theirs('roundrobin'),
        await ours('round-robin', 'round-robin'),
        theirs('leastconn'),
        await ours('least-connections', 'least-connections'),
        await ours('peak-ewma', 'peak-ewma'),
        await ours('planted', mostConnections),
      ];
      const measured = new Map(contenders.map(({ name }) => [name, [] as number[]]));
      for (let round = 0; round < rounds; round += 1) {
        for (const contender of contenders) {
          (measured.get(contender.name) as number[]).push(await p99(contender));
          progress(round);
        }
      }
      return compare((name) => median(measured.get(name) as number[]));
    } finally {
      await haproxy.stop();
    }
  } finally {
    await Promise.all(clusters.map((cluster) => cluster.close()));
    agent.destroy();
    nodes.kill();
  }
}

function compare(p99Of: (name: string) => number): CheckResult[] {
  const ms = (name: string) => `${p99Of(name).toFixed(0)} ms`;
  const pair = (own: string, other: string): CheckResult => {
    const figure = `p99 ${own} ${ms(own)} beside HAProxy ${other} ${ms(other)}`;
    return p99Of(own) <= p99Of(other) * TOLERANCE ? { figure } : { figure, problem: `${figure}: worse by more than ${TOLERANCE} x` };
  };
  const planted = p99Of('planted') > p99Of('leastconn') * TOLERANCE;
  return [
    pair('round-robin', 'roundrobin'),
    pair('least-connections', 'leastconn'),
    { figure: `peak-ewma ${ms('peak-ewma')}` },
    {
      figure: `planted most-connections ${planted ? 'found' : 'MISSED'} (${ms('planted')})`,
      ...(planted ? {} : { problem: 'a strategy that prefers the busiest node was not found out beside HAProxy' }),
    },
  ];
}

/** The busiest node, whatever that does to it. */
const mostConnections = () => strategy((nodes) => nodes.reduce((busiest, node) => (node.inFlight >= busiest.inFlight ? node : busiest)));

async function p99({ send }: Contender): Promise<number> {
  const latencies: number[] = [];
  const startedAt = performance.now();
  const caller = async () => {
    for (;;) {
      const sentAt = performance.now();
      if (sentAt - startedAt > WARM_UP_MS + ROUND_MS) return;
      await send();
      if (sentAt - startedAt > WARM_UP_MS) latencies.push(performance.now() - sentAt);
    }
  };
  await Promise.all(Array.from({ length: CALLERS }, caller));
  latencies.sort((a, b) => a - b);
  return latencies[Math.ceil(latencies.length * 0.99) - 1] as number;
}

async function startCluster(ports: readonly number[], agent: Agent, loadBalancingStrategy: LoadBalancingStrategy) {
  const connect: Connect = async ({ url }) => {
    const port = Number(new URL(url).port);
    return {
      closed: false,
      request: async () => {
        await get(port, agent);
        return {};
      },
      ping: async () => {},
      close: async () => {},
    };
  };
  const cluster = new DistributedMCPCluster({
    clusterName: 'proof',
    discoveryMethod: 'static',
    discoveryConfig: { serviceName: 'proof', endpoints: ports.map((port) => `http://127.0.0.1:${port}/mcp`) },
    loadBalancingStrategy,
    healthCheckConfig: { enabled: false },
    // `peak-ewma` tells 4 ms from 5; whole milliseconds would do as well.
    clock: { ...systemClock, now: () => performance.timeOrigin + performance.now() },
    connect,
  });
  await cluster.start();
  return cluster;
}

function get(port: number, agent: Agent): Promise<void> {
  return new Promise((resolve, reject) => {
    const sent = request({ host: '127.0.0.1', port, path: '/mcp', agent }, (response) => {
      response.resume();
      response.once('end', () =>
        response.statusCode === 200
          ? resolve()
          : reject(new TransportFailure(`HTTP status ${response.statusCode}`, { delivery: 'unknown', status: response.statusCode })),
      );
    });
    sent.once('error', (cause) => reject(new TransportFailure(cause.message, { delivery: 'unknown', cause })));
    sent.end();
  });
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[sorted.length >> 1] as number;
}
