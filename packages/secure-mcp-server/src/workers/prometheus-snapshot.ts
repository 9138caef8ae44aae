import { AggregatorRegistry, collectDefaultMetrics, type MetricObject, Registry } from 'prom-client';
import type { MetricsSource } from '../metrics-page.js';
import { prometheus } from '../prometheus.js';
import type { PrometheusMetric } from './messages.js';

type Snapshot = readonly PrometheusMetric[];

/** Observes a worker's server; the returned function tells what was counted, as JSON. */
export function snapshotsOf(source: MetricsSource): () => Promise<Snapshot> {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  prometheus({ registry }).observe(source);
  return async () => (await registry.getMetricsAsJSON()) as unknown as Snapshot;
}

/** What several workers counted, as one page in the text format. */
export async function renderSum(snapshots: readonly Snapshot[]): Promise<{ contentType: string; body: string }> {
  const registry = AggregatorRegistry.aggregate(snapshots as unknown as MetricObject[][]);
  return { contentType: registry.contentType, body: await registry.metrics() };
}

/** What remains of workers that are gone: what they counted, so that no sum ever falls; not what they measured at a moment. */
export async function lasting(snapshots: readonly Snapshot[]): Promise<Snapshot> {
  const counted = snapshots.map((snapshot) => snapshot.filter(({ type }) => type === 'counter' || type === 'histogram'));
  return (await AggregatorRegistry.aggregate(counted as unknown as MetricObject[][]).getMetricsAsJSON()) as unknown as Snapshot;
}
