export { type AuditSinkHarness, type AuditSinkSubject, auditSinkContract } from './audit-sink-contract.js';
export { testContext, testPrincipal } from './context.js';
export type { ContractCase } from './contract.js';
export {
  type DiscoveryHarness,
  discoveryContract,
  type ServiceRegistryHarness,
  serviceRegistryContract,
} from './discovery-contract.js';
export { ManualClock, settle } from './manual-clock.js';
export { type SdkClient, sdkTransportClient } from './sdk-transport-client.js';
export { type StateStoreHarness, type StateStorePair, stateStoreContract } from './state-store-contract.js';
export { transportContract } from './transport-contract.js';
export type {
  TransportClient,
  TransportConnection,
  TransportConnectOptions,
  TransportCounts,
  TransportFeature,
  TransportHarness,
  TransportLink,
  TransportProbe,
  TransportRequestOptions,
  TransportServeOptions,
  TransportServer,
} from './transport-harness.js';
export { type RelayAddress, TransportRelay } from './transport-relay.js';
export { TransportTestService } from './transport-test-service.js';
export type { TransportCase } from './transport-trial.js';
