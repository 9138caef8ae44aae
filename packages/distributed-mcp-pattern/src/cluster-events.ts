import type { CircuitState } from './circuit-breaker.js';
import type { NodeStatus } from './cluster-node.js';
import type { HealthState } from './health-monitor.js';
import type { ClusterMetrics } from './metrics.js';
import type { EjectionChange } from './resilience/outlier-detector.js';

/** A node's circuit has changed. */
export interface CircuitChange {
  readonly nodeId: string;
  readonly from: CircuitState;
  readonly to: CircuitState;
}

/** A node's health has changed. */
export interface HealthChange {
  readonly nodeId: string;
  readonly from: HealthState;
  readonly to: HealthState;
  /** Why its last check failed. */
  readonly error?: string;
}

/** Too few nodes are sound, or enough again. */
export interface PanicChange {
  /** Whether health and ejections are disregarded from now on. */
  readonly panic: boolean;
  /** Nodes that are neither unhealthy nor ejected. */
  readonly soundNodes: number;
  readonly totalNodes: number;
}

/** What a cluster tells its listeners. */
export type ClusterEvents = {
  /** A node entered, left, or changed its health, circuit or ejection: the nodes as they are now. */
  nodeChange: readonly NodeStatus[];
  circuitChange: CircuitChange;
  healthChange: HealthChange;
  /** A node was ejected as an outlier, or is back. */
  ejectionChange: EjectionChange;
  panicChange: PanicChange;
  /** At most once a second while calls or checks go on. */
  metricsChange: ClusterMetrics;
  /** Something failed that no caller waits for, such as the connection to the registry. */
  error: Error;
};
