export { type FlexibleLimitsOptions, flexibleLimits } from './flexible/flexible-limits.js';
