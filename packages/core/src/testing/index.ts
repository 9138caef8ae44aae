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
export { type StateStoreHarness, type StateStorePair, stateStoreContract } from './state-store-contract.js';
