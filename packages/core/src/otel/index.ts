export { type ClientOperation, clientOperations, clientTelemetry } from './client-telemetry.js';
export {
  type OperationFacts,
  operationTelemetry,
  sessionTelemetry,
  type TelemetryOptions,
} from './operation-telemetry.js';
export { contextOf, traceOf } from './trace-context.js';
