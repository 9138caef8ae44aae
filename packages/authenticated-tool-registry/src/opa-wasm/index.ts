export { OpaWasmDecisionPoint, type OpaWasmDecisionPointOptions } from './opa-wasm-decision-point.js';
