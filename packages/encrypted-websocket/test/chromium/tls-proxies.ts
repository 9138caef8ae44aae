import { writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { type RunningProgram, startProgram } from '@mcp-blocks/services';
import { certificates } from '../support.js';

export const PROXIES = ['haproxy', 'nginx'] as const;
export type Proxy = (typeof PROXIES)[number];

/** Starts a proxy that ends TLS and passes everything on to a port of this machine. */
export function startTlsProxy(name: Proxy, target: number): Promise<RunningProgram> {
  return startProgram(name, {
    args: ({ ports: [port], dataDir }) => {
      const { cert, key } = certificates.server;
      writeFileSync(join(dataDir, 'server.pem'), `${cert}${key}`, { mode: 0o600 });
      const file = join(dataDir, 'proxy.conf');
      writeFileSync(file, CONFIGURATIONS[name](port, dataDir, target));
      return name === 'haproxy' ? ['-db', '-f', file] : ['-e', 'stderr', '-c', file];
    },
    ready: ([port]) => isListening(port),
  });
}

const CONFIGURATIONS: Readonly<Record<Proxy, (port: number, folder: string, target: number) => string>> = {
  haproxy: (port, folder, target) => `
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  timeout tunnel 1h
frontend tls
  bind 127.0.0.1:${port} ssl crt ${folder}/server.pem alpn h2,http/1.1
  default_backend mcp
backend mcp
  server mcp 127.0.0.1:${target}
`,
  nginx: (port, folder, target) => `
daemon off;
master_process off;
pid ${folder}/nginx.pid;
error_log stderr;
events {}
http {
  access_log off;
  client_body_temp_path ${folder}/body;
  proxy_temp_path ${folder}/proxy;
  fastcgi_temp_path ${folder}/fastcgi;
  uwsgi_temp_path ${folder}/uwsgi;
  scgi_temp_path ${folder}/scgi;
  server {
    listen 127.0.0.1:${port} ssl;
    ssl_certificate ${folder}/server.pem;
    ssl_certificate_key ${folder}/server.pem;
    location /ws {
      proxy_pass http://127.0.0.1:${target};
      proxy_http_version 1.1;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection upgrade;
      proxy_set_header Host $host;
      proxy_read_timeout 1h;
    }
  }
}
`,
};

function isListening(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
