export { type ClusterLimitsOptions, clusterLimits, serveClusterLimits } from './cluster/cluster-limits.js';
