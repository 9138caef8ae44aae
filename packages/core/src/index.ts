export { type AuditEvent, type AuditOutcome, type AuditSink, MemoryAuditSink } from './audit.js';
export { canonicalJson } from './canonical-json.js';
export { type CancelTimer, type Clock, type Random, sleep, systemClock } from './clock.js';
export type { Discovery, ServiceNode, ServiceRegistry } from './discovery.js';
export { ConfigurationError, isRpcError, RpcError, type RpcErrorCode, type RpcErrorOptions } from './errors.js';
export { Events } from './events.js';
export {
  type AuthenticationRequest,
  type Authenticator,
  anonymous,
  type ClientCertificate,
  type Principal,
  principalKey,
  type SubjectAltName,
} from './identity.js';
export { isJsonObject, type JsonObject, type JsonValue } from './json.js';
export {
  checkJsonRpc,
  isJsonRpcRequest,
  type JsonRpcLimits,
  type JsonRpcMessage,
  type JsonRpcNotification,
  JsonRpcParseError,
  type JsonRpcRequest,
  type JsonRpcResponse,
  parseJsonRpc,
} from './json-rpc.js';
export type { EndedSession, Listener, ListenerHost } from './listener.js';
export { isLoopbackAddress } from './loopback-address.js';
export { MemoryStateStore, type MemoryStateStoreOptions } from './memory-state-store.js';
export { eraOf, LEGACY_PROTOCOL_VERSION, META, MODERN_PROTOCOL_VERSION, type ProtocolEra } from './protocol.js';
export { isRepeatableMethod } from './repeatable.js';
export { RetryBudget, type RetryBudgetOptions } from './retry-budget.js';
export {
  type Caller,
  compose,
  type RpcContext,
  type RpcHandler,
  type RpcMiddleware,
  type RpcRequest,
  type RpcResult,
  type TraceContext,
} from './rpc.js';
export { type RpcService, type ServiceEvent, ServiceEventEmitter, type ServiceEvents, type ServiceInfo } from './service.js';
export type { Lock, SetOptions, StateStore } from './state.js';
export { stateArguments } from './state-arguments.js';
export { StaticDiscovery } from './static-discovery.js';
export { methodLabel, TELEMETRY } from './telemetry.js';
export { fromWireError, toWireError, type WireError } from './wire.js';
