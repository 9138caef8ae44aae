export { type BalancerContractCase, type BalancerHarness, balancerContract } from './balancer-contract.js';
