import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { startProgram } from '@mcp-blocks/services';
import type { RunningStation } from './stations.ts';

type ReverseProxy = 'haproxy' | 'nginx';

/** @throws Error saying what to install where it is not there. */
export async function startReverseProxy(name: ReverseProxy, nodePort: number, pinned: readonly string[]): Promise<RunningStation> {
  const program = await startProgram(name, {
    args: ({ ports, dataDir }) => {
      const file = join(dataDir, `${name}.conf`);
      writeFileSync(file, CONFIGURATIONS[name](ports[0], nodePort, dataDir));
      return name === 'haproxy' ? ['-db', '-q', '-f', file] : ['-c', file, '-p', dataDir];
    },
    ready: (ports) => accepts(ports[0]),
  });
  try {
    pin(program.pid as number, pinned);
  } catch (error) {
    await program.stop();
    throw error;
  }
  return {
    announcement: { port: program.ports[0] },
    async stop(read) {
      await program.stop();
      return read();
    },
  };
}

const CONFIGURATIONS: Readonly<Record<ReverseProxy, (port: number, nodePort: number, dataDir: string) => string>> = {
  haproxy: (port, nodePort) => `global
  maxconn 1000
  nbthread 1
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  option http-keep-alive
  http-reuse always
listen node
  bind 127.0.0.1:${port}
  server node 127.0.0.1:${nodePort}
`,
  // In the foreground without a master, so that what is started is what serves.
  nginx: (port, nodePort, dataDir) => `daemon off;
master_process off;
pid ${dataDir}/nginx.pid;
error_log stderr;
events { worker_connections 1024; }
http {
  access_log off;
  client_body_temp_path ${dataDir}/body;
  proxy_temp_path ${dataDir}/proxy;
  fastcgi_temp_path ${dataDir}/fastcgi;
  uwsgi_temp_path ${dataDir}/uwsgi;
  scgi_temp_path ${dataDir}/scgi;
  upstream node {
    server 127.0.0.1:${nodePort};
    keepalive 64;
    keepalive_requests 1000000000;
  }
  server {
    listen 127.0.0.1:${port};
    keepalive_requests 1000000000;
    location / {
      proxy_pass http://node;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
    }
  }
}
`,
};

/** Puts a running process where `prefix` would have started it. */
function pin(pid: number, prefix: readonly string[]): void {
  const [taskset, core] = [prefix[0], prefix.at(-1)];
  if (taskset === undefined || core === undefined) return;
  const { status, stderr } = spawnSync(taskset, ['-a', '-c', '-p', core, String(pid)]);
  if (status !== 0) throw new Error(`it cannot be pinned to core ${core}: ${String(stderr)}`);
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
