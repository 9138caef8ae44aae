import type { RpcContext } from '@mcp-blocks/core';
import { encryptedWebSocket } from '@mcp-blocks/encrypted-websocket';
import { http, SecureMCPServer } from '@mcp-blocks/secure-mcp-server';
import { SpanKind } from '@opentelemetry/api';
import { AggregationTemporality, InMemoryMetricExporter, MeterProvider, PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics';
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base';
import { expect, it, onTestFinished } from 'vitest';
import { type MCPClientConfig, MCPClientPattern } from '../src/index.js';
import { tracedConnectors } from '../src/otel.js';
import { TestService } from './support.js';

/** The real SDK, exporting to memory. */
function openTelemetry() {
  const exporter = new InMemorySpanExporter();
  const tracing = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] });
  const measured = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
  const reader = new PeriodicExportingMetricReader({ exporter: measured, exportIntervalMillis: 3_600_000 });
  const measuring = new MeterProvider({ readers: [reader] });
  onTestFinished(async () => {
    await tracing.shutdown();
    await measuring.shutdown();
  });
  return {
    tracer: tracing.getTracer('test'),
    meter: measuring.getMeter('test'),
    spans: () => exporter.getFinishedSpans(),
    async points(name: string) {
      await measuring.forceFlush();
      const all =
        measured
          .getMetrics()
          .at(-1)
          ?.scopeMetrics.flatMap(({ metrics }) => metrics) ?? [];
      return all.find(({ descriptor }) => descriptor.name === name)?.dataPoints ?? [];
    },
  };
}

/** A real server on both transports, and a client with telemetry. */
async function start(config: Partial<MCPClientConfig>) {
  const otel = openTelemetry();
  const traces: RpcContext['trace'][] = [];
  const server = new SecureMCPServer({
    service: new TestService(),
    allowAnonymous: true,
    middleware: [
      (next) => (request, context) => {
        traces.push(context.trace);
        return next(request, context);
      },
    ],
    listeners: [http({ port: 0, upgrades: [encryptedWebSocket({ path: '/ws' })] })],
  });
  await server.start();
  onTestFinished(() => server.stop());
  const [serverUrl, webSocketUrl] = server.endpoints as [string, string];
  const client = new MCPClientPattern({
    serverUrl,
    webSocketUrl,
    healthCheckInterval: 0,
    connectors: tracedConnectors(otel),
    ...config,
  });
  onTestFinished(() => client.close());
  return { client, otel, traces };
}

it.each([
  ['websocket', { enableWebSocket: true }, { 'mcp.protocol.version': '2026-07-28', 'network.protocol.name': 'websocket' }, true],
  ['http', { enableWebSocket: false }, { 'mcp.protocol.version': '2026-07-28', 'network.protocol.name': 'http' }, false],
  ['http', { enableWebSocket: false, versionNegotiation: 'legacy' as const }, { 'network.protocol.name': 'http' }, true],
])('requests over %s with %j reach the server with their span, and are measured', async (_kind, config, network, hasSession) => {
  const { client, otel, traces } = await start(config);
  await client.request('tools/call', { name: 'echo', arguments: {} });
  const span = otel.spans().find(({ name }) => name === 'tools/call echo');
  expect(span?.kind).toBe(SpanKind.CLIENT);
  const { traceId, spanId } = span?.spanContext() ?? {};
  expect(traces).toContainEqual({ traceparent: `00-${traceId}-${spanId}-01` });
  const common = { 'network.transport': 'tcp', ...network };
  const [point] = (await otel.points('mcp.client.operation.duration')).filter(
    ({ attributes }) => attributes['mcp.method.name'] === 'tools/call',
  );
  expect(point?.attributes).toEqual({
    ...common,
    'mcp.method.name': 'tools/call',
    'gen_ai.operation.name': 'execute_tool',
    'gen_ai.tool.name': 'echo',
  });
  await client.close();
  const sessions = await otel.points('mcp.client.session.duration');
  expect(sessions.map(({ attributes, value }) => [attributes, (value as { count: number }).count])).toEqual(
    hasSession ? [[common, 1]] : [],
  );
});
