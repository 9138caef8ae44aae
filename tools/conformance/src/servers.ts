import type { RpcService } from '@mcp-blocks/core';
import { createGateway, DistributedMCPCluster } from '@mcp-blocks/distributed-mcp-pattern';
import { http, SecureMCPServer } from '@mcp-blocks/secure-mcp-server';
import { everythingService } from './everything-service.ts';

/** A running server under test. */
export interface ServerUnderTest {
  readonly url: string;
  stop(): Promise<void>;
}

/** The everything-server, made of our blocks. */
export function startServer(): Promise<ServerUnderTest> {
  return serve(everythingService());
}

/** The same two nodes behind a gateway, made of our blocks. */
export async function startGateway(): Promise<ServerUnderTest> {
  const nodes = await Promise.all([startServer(), startServer()]);
  const cluster = new DistributedMCPCluster({
    clusterName: 'conformance',
    discoveryMethod: 'static',
    discoveryConfig: { serviceName: 'everything', nodes: nodes.map(({ url }, index) => ({ id: `node-${index + 1}`, url })) },
    loadBalancingStrategy: 'round-robin',
  });
  await cluster.start();
  const gateway = await serve(createGateway({ info: { name: 'gateway', version: '1.0.0' }, services: { everything: cluster } }));
  return {
    url: gateway.url,
    async stop() {
      await gateway.stop();
      await cluster.close();
      await Promise.all(nodes.map((node) => node.stop()));
    },
  };
}

async function serve(service: RpcService): Promise<ServerUnderTest> {
  const listener = http({ port: 0 });
  const server = new SecureMCPServer({ service, allowAnonymous: true, listeners: [listener] });
  await server.start();
  return { url: listener.endpoint as string, stop: () => server.stop() };
}
