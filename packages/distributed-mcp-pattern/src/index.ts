export type { Balancer, Candidate, Picker, PickInfo, PickResult } from './balancing/balancer.js';
export { BoundedStickyBalancer, type BoundedStickyOptions } from './balancing/bounded-sticky.js';
export type { BalancingConfig } from './balancing/config.js';
export { LeastConnectionsBalancer } from './balancing/least-connections.js';
export { LeastRequestBalancer } from './balancing/least-request.js';
export { LocalityBalancer, type LocalityOptions } from './balancing/locality.js';
export { PeakEwmaBalancer } from './balancing/peak-ewma.js';
export { RoundRobinBalancer } from './balancing/round-robin.js';
export { type NodeSelector, type RoutingRule, RoutingRulesBalancer, type RoutingRulesOptions } from './balancing/routing-rules.js';
export { SessionAffinityBalancer } from './balancing/session-affinity.js';
export type { LoadBalancingStrategy, RoutingRuleConfig, StrategyName } from './balancing/strategy.js';
export { WeightedBalancer } from './balancing/weighted.js';
export type { ChangeWatch, WatchOptions } from './changes/change-feeds.js';
export {
  CircuitBreaker,
  type CircuitBreakerOptions,
  type CircuitPermit,
  type CircuitSnapshot,
  type CircuitState,
} from './circuit-breaker.js';
export type { CircuitChange, ClusterEvents, HealthChange, PanicChange } from './cluster-events.js';
export type { NodeStatus } from './cluster-node.js';
export type { StateManagementConfig } from './cluster-state.js';
export type { DistributedMCPConfig } from './config.js';
export type { DiscoveryConfig, DiscoveryMethod } from './discovery/config.js';
export { ConsulDiscovery, type ConsulDiscoveryOptions } from './discovery/consul-discovery.js';
export type { ConsulCheck } from './discovery/consul-registration.js';
export { DnsDiscovery, type DnsDiscoveryOptions } from './discovery/dns-discovery.js';
export type { EtcdClientOptions } from './discovery/etcd-client.js';
export { EtcdDiscovery, type EtcdDiscoveryOptions } from './discovery/etcd-discovery.js';
export { KubernetesDiscovery, type KubernetesDiscoveryOptions } from './discovery/kubernetes-discovery.js';
export type { RegistryHttpOptions, RegistryTls } from './discovery/registry-http.js';
export { DistributedMCPCluster } from './distributed-mcp-cluster.js';
export type { GatewaySource } from './gateway/federated-lists.js';
export { createGateway, type Gateway, type GatewayChanges, type GatewayOptions } from './gateway/gateway.js';
export type { OpenCallsOptions } from './gateway/open-calls.js';
export type { GatewayProblem } from './gateway/problems.js';
export type { HealthState } from './health-monitor.js';
export type { ClusterMetrics } from './metrics.js';
export type { ResilienceConfig } from './resilience/config.js';
export type { EjectionChange, EjectionReason } from './resilience/outlier-detector.js';
export type { RouteOptions } from './router.js';
export type { CredentialsProvider, CredentialsRequest, NodeCredentials } from './upstream/connection-pool.js';
export { connectWithSdk, type SdkConnectorOptions, sdkConnector } from './upstream/sdk-connector.js';
export { type StdioServiceOptions, stdioService } from './upstream/stdio-service.js';
export { type SubjectToken, type TokenExchangeOptions, tokenExchange } from './upstream/token-exchange.js';
export {
  type Connect,
  type ConnectOptions,
  type Delivery,
  TransportFailure,
  type Upstream,
  type UpstreamRequest,
  type UpstreamSession,
  type UpstreamWatch,
} from './upstream/upstream.js';
