export { OpaDecisionPoint, type OpaDecisionPointOptions } from './opa-decision-point.js';
