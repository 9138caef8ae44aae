export { CedarDecisionPoint, type CedarDecisionPointOptions } from './cedar-decision-point.js';
