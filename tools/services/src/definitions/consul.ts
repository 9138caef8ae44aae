import type { ServiceDefinition } from './definition.ts';

export const consul: ServiceDefinition = {
  name: 'consul',
  variable: 'MCP_BLOCKS_CONSUL_URL',
  executable: 'consul',
  // The last release of Debian with Consul; later versions left the licence Debian accepts.
  debianPackage: 'consul',
  debianRelease: 'bullseye',
  dockerImage: 'hashicorp/consul:1.15',
  manualInstall: 'https://developer.hashicorp.com/consul/install; macOS: brew install hashicorp/tap/consul',
  sidePortCount: 3,
  url: (port) => `http://127.0.0.1:${port}`,
  args: ({ host, port, sidePorts: [server, lan, wan] }) => [
    ...['agent', '-dev', '-node', 'test', '-bind', '127.0.0.1', '-client', host, '-log-level', 'err'],
    ...['-http-port', `${port}`, '-server-port', `${server}`, '-serf-lan-port', `${lan}`, '-serf-wan-port', `${wan}`],
    ...['-dns-port', '-1', '-grpc-port', '-1', '-disable-host-node-id'],
    ...['-hcl', 'disable_update_check = true', '-hcl', 'connect { enabled = false }'],
  ],
  docker: { port: 8500, dataDir: '/consul/data' },
  answers: async (port) => {
    try {
      const response = await fetch(`http://127.0.0.1:${port}/v1/health/service/consul?passing`, { signal: AbortSignal.timeout(1000) });
      return response.ok && ((await response.json()) as unknown[]).length > 0;
    } catch {
      return false;
    }
  },
};
