import { createGateway, DistributedMCPCluster } from '@mcp-blocks/distributed-mcp-pattern';

/** Brings the nodes of one service together, and shows them as one server. */
export async function startGateway(nodeUrls: string[], token: () => Promise<string>) {
  const cluster = new DistributedMCPCluster({
    clusterName: 'production-cluster',
    discoveryMethod: 'static',
    discoveryConfig: { serviceName: 'mcp-server', endpoints: nodeUrls },
    loadBalancingStrategy: 'least-connections',
    circuitBreakerConfig: { enabled: true, failureThreshold: 5, resetTimeout: 60_000 },
    credentials: async () => ({ headers: { authorization: `Bearer ${await token()}` } }),
  });
  cluster.on('error', (error) => console.error(error.message));
  await cluster.start();

  // An RpcService: any listener or server of MCP Blocks can serve it.
  const gateway = createGateway({ info: { name: 'gateway', version: '1.0.0' }, services: { orders: cluster } });
  return { cluster, gateway };
}
