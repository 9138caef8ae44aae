import { AsyncLocalStorage } from 'node:async_hooks';
import { RpcError, type RpcHandler } from '@mcp-blocks/core';
import { clientTelemetry } from '@mcp-blocks/core/otel';
import { testContext } from '@mcp-blocks/core/testing';
import { RpcCaller } from '@mcp-blocks/rate-limited-rpc';
import { type Context, type ContextManager, context as contextApi, propagation, ROOT_CONTEXT, SpanKind, trace } from '@opentelemetry/api';
import { AggregationTemporality, InMemoryMetricExporter, MeterProvider, PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics';
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base';
import { expect, it, onTestFinished } from 'vitest';
import { telemetry } from '../src/otel.js';
import { callTool, ENVELOPE, startHttp, testService } from './support/server.js';

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
    async metrics() {
      await measuring.forceFlush();
      return measured.getMetrics().at(-1)?.scopeMetrics[0]?.metrics ?? [];
    },
  };
}

it('carries a span of each request that is sent to the server, around an RpcCaller with its retries', async () => {
  const otel = openTelemetry();
  const { service } = testService();
  const { url } = await startHttp({ service, middleware: [telemetry(otel)] });
  let attempts = 0;
  const send: RpcHandler = async ({ method, params }) => {
    attempts += 1;
    if (attempts === 1) throw new RpcError('unavailable', 'No connection', {});
    const init = callTool('echo');
    const body = { jsonrpc: '2.0', id: 1, method, params: { ...params, _meta: { ...ENVELOPE, ...(params._meta as object) } } };
    const response = await fetch(url, { ...init, body: JSON.stringify(body) });
    return ((await response.json()) as { result: Record<string, never> }).result;
  };
  const caller = new RpcCaller({
    handler: clientTelemetry(otel)(send),
    context: { transport: 'http' },
    retries: { attempts: 1, initialDelayMs: 1 },
  });
  await caller.call('tools/call', { name: 'echo', arguments: {} }, { repeatable: true });
  const [failed, server, sent] = otel.spans();
  expect([failed?.kind, server?.kind, sent?.kind]).toEqual([SpanKind.CLIENT, SpanKind.SERVER, SpanKind.CLIENT]);
  expect([failed?.name, server?.name, sent?.name]).toEqual(['tools/call echo', 'tools/call echo', 'tools/call echo']);
  expect(failed?.attributes).toEqual({
    'mcp.method.name': 'tools/call',
    'gen_ai.operation.name': 'execute_tool',
    'gen_ai.tool.name': 'echo',
    'mcp.protocol.version': '2026-07-28',
    'network.transport': 'tcp',
    'network.protocol.name': 'http',
    // Without a status code: there was no answer.
    'error.type': 'unavailable',
  });
  expect(server?.parentSpanContext).toMatchObject({ spanId: sent?.spanContext().spanId, isRemote: true });
  expect(server?.spanContext().traceId).toBe(sent?.spanContext().traceId);
  const client = (await otel.metrics()).find(({ descriptor }) => descriptor.name === 'mcp.client.operation.duration');
  expect(client?.descriptor.unit).toBe('s');
  expect(client?.dataPoints.map(({ attributes, value }) => [attributes['error.type'], (value as { count: number }).count])).toEqual([
    ['unavailable', 1],
    [undefined, 1],
  ]);
});

const TRACE_ID = '4bf92f3577b34da6a3ce929d0e0e4736';
const TRACEPARENT = `00-${TRACE_ID}-00f067aa0ba902b7-01`;

it('continues the trace of the context, with its state and baggage, and leaves the rest of _meta as it is', async () => {
  const otel = openTelemetry();
  let seen: unknown;
  const send = clientTelemetry(otel)(async ({ params }) => {
    seen = params._meta;
    return {};
  });
  const trace_ = { traceparent: TRACEPARENT, tracestate: 'vendor=1', baggage: 'a=b' };
  const _meta = { progressToken: 1, traceparent: 'stale', tracestate: 'stale=1' };
  await send({ method: 'tools/list', params: { _meta } }, testContext({ trace: trace_ }));
  const [span] = otel.spans();
  expect(span?.parentSpanContext?.spanId).toBe('00f067aa0ba902b7');
  expect(seen).toEqual({
    progressToken: 1,
    traceparent: `00-${TRACE_ID}-${span?.spanContext().spanId}-01`,
    tracestate: 'vendor=1',
    baggage: 'a=b',
  });
});

it('passes a trace on, and adds nothing, where there is no OpenTelemetry SDK', async () => {
  const seen: unknown[] = [];
  const send = clientTelemetry()(async ({ params }) => {
    seen.push(params);
    return {};
  });
  await send({ method: 'tools/list', params: {} }, testContext());
  await send({ method: 'tools/list', params: {} }, testContext({ trace: { traceparent: TRACEPARENT } }));
  expect(seen).toEqual([{}, { _meta: { traceparent: TRACEPARENT } }]);
});

it('belongs to the active span, and takes the active baggage', async () => {
  const storage = new AsyncLocalStorage<Context>();
  const manager: ContextManager = {
    active: () => storage.getStore() ?? ROOT_CONTEXT,
    with: (context, run, self, ...args) => storage.run(context, () => run.apply(self, args)),
    bind: (_context, target) => target,
    enable: () => manager,
    disable: () => manager,
  };
  contextApi.setGlobalContextManager(manager);
  propagation.setGlobalPropagator({
    inject: (context, carrier) => {
      const entries = propagation.getBaggage(context)?.getAllEntries() ?? [];
      Object.assign(carrier as object, { 'x-other': '1', baggage: entries.map(([key, { value }]) => `${key}=${value}`).join() });
    },
    extract: (context) => context,
    fields: () => ['baggage'],
  });
  onTestFinished(() => {
    contextApi.disable();
    propagation.disable();
  });
  const otel = openTelemetry();
  let seen: unknown;
  const send = clientTelemetry(otel)(async ({ params }) => {
    seen = params._meta;
    return {};
  });
  const outer = otel.tracer.startSpan('outer');
  const baggage = propagation.createBaggage({ tenant: { value: 'blue' } });
  const active = propagation.setBaggage(trace.setSpan(ROOT_CONTEXT, outer), baggage);
  await contextApi.with(active, () => send({ method: 'tools/list', params: {} }, testContext({ trace: { traceparent: TRACEPARENT } })));
  const [span] = otel.spans();
  expect(span?.parentSpanContext?.spanId).toBe(outer.spanContext().spanId);
  expect(seen).toEqual({
    traceparent: `00-${outer.spanContext().traceId}-${span?.spanContext().spanId}-01`,
    baggage: 'tenant=blue',
  });
});
