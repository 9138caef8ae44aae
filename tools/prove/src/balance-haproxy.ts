import { writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { type RunningProgram, startProgram } from '@mcp-blocks/services';

/** A running HAProxy in front of the nodes, with a port for each of its strategies. */
export interface Haproxy {
  readonly ports: Readonly<Record<'roundrobin' | 'leastconn', number>>;
  stop(): Promise<void>;
}

/** @throws Error saying what to install where there is no HAProxy. */
export async function startHaproxy(nodePorts: readonly number[]): Promise<Haproxy> {
  const program: RunningProgram = await startProgram('haproxy', {
    portCount: 2,
    args: ({ ports, dataDir }) => {
      const file = join(dataDir, 'haproxy.cfg');
      writeFileSync(file, configuration(nodePorts, ports[0], ports[1] as number));
      return ['-db', '-q', '-f', file];
    },
    ready: async (ports) => (await Promise.all(ports.map(accepts))).every(Boolean),
  });
  const [roundrobin, leastconn] = program.ports as [number, number];
  return { ports: { roundrobin, leastconn }, stop: () => Promise.resolve(program.stop()) };
}

function configuration(nodePorts: readonly number[], roundrobin: number, leastconn: number): string {
  const servers = nodePorts.map((port, index) => `  server node-${index} 127.0.0.1:${port}`).join('\n');
  const listen = (balance: string, port: number) => `
listen ${balance}
  bind 127.0.0.1:${port}
  balance ${balance}
${servers}
`;
  return `global
  maxconn 1000
  nbthread 1
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  option http-keep-alive
  http-reuse always
${listen('roundrobin', roundrobin)}${listen('leastconn', leastconn)}`;
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port }, () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
