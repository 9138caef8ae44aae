import { RpcError } from '@mcp-blocks/core';
import {
  type Connect,
  connectWithSdk,
  createGateway,
  DistributedMCPCluster,
  TransportFailure,
  type Upstream,
} from '@mcp-blocks/distributed-mcp-pattern';
import { encryptedWebSocket } from '@mcp-blocks/encrypted-websocket';
import { http, SecureMCPServer } from '@mcp-blocks/secure-mcp-server';
import { RedisStateStore } from '@mcp-blocks/shared-state/redis';
import { byName, CHECKER, type FromGateway, type GatewayOrder, MAX_EJECTED_SHARE, PANIC_THRESHOLD, SERVICE } from './cluster-orders.ts';

const { etcdUrl, redisUrl, breakers, bug, pace } = JSON.parse(process.argv[2] as string) as GatewayOrder;
const tell = (report: FromGateway) => process.send?.(report, () => {});

/** The SDK's connections, unless a bug has been planted in them. */
const connect: Connect = async (node, options) => {
  const upstream = await connectWithSdk(node, options);
  return bug === 'repeats-everything' || bug === 'denies-everything' ? withWrongWord(upstream) : upstream;
};

/** Says of a call that may have been carried out that it was not: to the cluster, or to the caller. */
function withWrongWord(upstream: Upstream): Upstream {
  return {
    get closed() {
      return upstream.closed;
    },
    ping: (signal) => upstream.ping(signal),
    close: () => upstream.close(),
    async request(request) {
      try {
        return await upstream.request(request);
      } catch (error) {
        if (!(error instanceof TransportFailure) || error.delivery !== 'unknown') throw error;
        if (bug === 'denies-everything') throw new RpcError('upstream_error', 'Nothing has happened');
        throw new TransportFailure(error.message, { delivery: 'not-sent' });
      }
    },
  };
}

const failover = bug !== 'no-failover';
const cluster = new DistributedMCPCluster({
  clusterName: 'proof',
  discoveryMethod: 'etcd',
  discoveryConfig: { serviceName: SERVICE, endpoints: [etcdUrl], etcd: { requestTimeoutMs: 1_000 } },
  loadBalancingStrategy: 'sticky',
  credentials: (_node, principal) => ({ headers: { authorization: `Bearer ${principal?.id ?? CHECKER}` } }),
  circuitBreakerConfig: { enabled: breakers && failover, failureThreshold: 5, resetTimeout: 300 },
  outlierDetectionConfig: {
    enabled: breakers && failover,
    consecutive5xx: 3,
    consecutiveGatewayFailures: 3,
    baseEjectionTime: 300,
    maxEjectionTime: 1_000,
    maxEjectedShare: bug === 'no-cap' ? 1 : MAX_EJECTED_SHARE,
  },
  panicThreshold: bug === 'no-panic' ? 0 : PANIC_THRESHOLD,
  slowStartConfig: { window: 200 },
  healthCheckConfig: { enabled: failover, interval: 150, timeout: pace.healthTimeoutMs, healthyThreshold: 1, unhealthyThreshold: 2 },
  requestTimeout: pace.requestTimeoutMs,
  retry: {
    perTryTimeout: pace.perTryMs,
    ...(bug === 'no-budget' ? { budget: 1, minConcurrent: 1_000 } : {}),
    ...(failover ? {} : { attempts: 1 }),
  },
  connect,
});

const view = () => {
  const { nodes, panic } = cluster.getClusterMetrics();
  return { nodes: nodes.map(({ id, health, ejected, circuit, available }) => ({ id, health, ejected, circuit, available })), panic };
};
let told = '';
let looking = false;

/** At the end of every turn in which something has changed. */
function look(): void {
  looking = false;
  const now = view();
  const { nodes, panic } = now;
  const ejected = nodes.filter((node) => node.ejected).length;
  const allowed = Math.max(1, Math.floor(nodes.length * MAX_EJECTED_SHARE));
  if (ejected > allowed) tell({ violation: `ejected ${ejected} of ${nodes.length} nodes, where ${allowed} may be` });
  const sound = nodes.filter((node) => node.health !== 'unhealthy' && !node.ejected).length;
  const due = nodes.length > 0 && sound / nodes.length < PANIC_THRESHOLD;
  if (panic !== due) tell({ violation: `${panic ? 'panic' : 'no panic'} with ${sound} sound nodes of ${nodes.length}` });
  const text = JSON.stringify(now);
  if (text === told) return;
  told = text;
  tell({ view: now });
}

function lookSoon(): void {
  if (looking) return;
  looking = true;
  queueMicrotask(look);
}

for (const event of ['nodeChange', 'healthChange', 'circuitChange', 'ejectionChange', 'panicChange'] as const) cluster.on(event, lookSoon);
// What no event tells of.
setInterval(look, 20);

process.once('disconnect', () => process.exit());
await cluster.start();
const gateway = createGateway({ info: { name: 'gateway', version: '1.0.0' }, services: { ledger: cluster } });
const listener = http({ port: 0, sessions: { store: new RedisStateStore({ url: redisUrl }) }, upgrades: [encryptedWebSocket()] });
const server = new SecureMCPServer({ service: gateway, authenticators: [byName], listeners: [listener], onError: () => {} });
await server.start();
tell({ url: String(server.endpoints[0]) });
look();
