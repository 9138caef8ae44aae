import { RpcError, TELEMETRY } from '@mcp-blocks/core';
import { testContext } from '@mcp-blocks/core/testing';
import { SpanKind, SpanStatusCode } from '@opentelemetry/api';
import { AggregationTemporality, InMemoryMetricExporter, MeterProvider, PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics';
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base';
import { expect, it, onTestFinished } from 'vitest';
import { telemetry } from '../src/otel.js';
import { connectHttp } from './support/clients.js';
import { callTool, ENVELOPE, modernRequest, startHttp, testService } from './support/server.js';

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
    middleware: telemetry({ tracer: tracing.getTracer('test'), meter: measuring.getMeter('test') }),
    spans: () => exporter.getFinishedSpans(),
    async points() {
      await measuring.forceFlush();
      const [metric] = measured.getMetrics().at(-1)?.scopeMetrics[0]?.metrics ?? [];
      return { descriptor: metric?.descriptor, points: metric?.dataPoints ?? [] };
    },
  };
}

const TRACE_ID = '4bf92f3577b34da6a3ce929d0e0e4736';
const SPAN_ID = '00f067aa0ba902b7';
const TRACEPARENT = `00-${TRACE_ID}-${SPAN_ID}-01`;

it('makes a span for each request that continues the trace of its _meta', async () => {
  const { middleware, spans } = openTelemetry();
  const { url } = await startHttp({ service: testService().service, middleware: [middleware] });
  const init = callTool('echo');
  const body = JSON.parse(init.body);
  body.params._meta = { ...ENVELOPE, traceparent: TRACEPARENT, tracestate: 'vendor=1' };
  await (await fetch(url, { ...init, body: JSON.stringify(body) })).text();
  const [span] = spans();
  expect(span?.name).toBe('tools/call echo');
  expect(span?.kind).toBe(SpanKind.SERVER);
  expect(span?.status.code).toBe(SpanStatusCode.UNSET);
  expect(span?.attributes).toEqual({
    'mcp.method.name': 'tools/call',
    'mcp.protocol.version': '2026-07-28',
    'gen_ai.tool.name': 'echo',
    'gen_ai.operation.name': 'execute_tool',
    'jsonrpc.request.id': '7',
    'network.transport': 'tcp',
    'network.protocol.name': 'http',
  });
  expect(span?.spanContext().traceId).toBe(TRACE_ID);
  expect(span?.parentSpanContext).toMatchObject({ spanId: SPAN_ID, isRemote: true });
  expect(span?.spanContext().traceState?.serialize()).toBe('vendor=1');
});

it('names the session in the legacy era', async () => {
  const { middleware, spans } = openTelemetry();
  const { url } = await startHttp({ service: testService().service, middleware: [middleware] });
  const client = await connectHttp('legacy', url);
  await client.callTool({ name: 'echo' });
  expect(spans()[0]?.attributes).toMatchObject({
    'mcp.protocol.version': '2025-11-25',
    'mcp.session.id': expect.stringMatching(/^[\da-f-]{36}$/),
  });
});

it('tells failures by error.type, and nothing of their content', async () => {
  const { middleware, spans } = openTelemetry();
  const outcomes: (() => Promise<Record<string, boolean>>)[] = [
    async () => ({ isError: true }),
    async () => Promise.reject(new RpcError('rate_limited', 'Too many requests', { auditReason: 'secret' })),
    async () => Promise.reject(new TypeError('secret detail')),
  ];
  for (const outcome of outcomes) {
    await middleware(outcome)({ method: 'tools/call', params: { name: 'x', arguments: { password: 'secret' } } }, testContext()).catch(
      () => {},
    );
  }
  const told = spans().map(({ status, attributes }) => [
    status.code,
    attributes['error.type'],
    attributes['rpc.response.status_code'],
    status.message,
  ]);
  expect(told).toEqual([
    [SpanStatusCode.ERROR, 'tool_error', undefined, undefined],
    [SpanStatusCode.ERROR, 'rate_limited', '429', 'Too many requests'],
    [SpanStatusCode.ERROR, 'internal_error', '-32603', 'Internal error'],
  ]);
  expect(JSON.stringify(spans().map(({ attributes, events, status }) => [attributes, events, status]))).not.toContain('secret');
});

it('hands the span on as the trace of the handler', async () => {
  const { middleware, spans } = openTelemetry();
  let seen: unknown;
  const call = (trace: Record<string, string> | undefined) =>
    middleware(async (_request, context) => {
      seen = context.trace;
      return {};
    })({ method: 'tools/list', params: {} }, testContext(trace === undefined ? {} : { trace }));
  await call({ traceparent: TRACEPARENT, baggage: 'a=b' });
  expect(seen).toEqual({ traceparent: `00-${TRACE_ID}-${spans()[0]?.spanContext().spanId}-01`, baggage: 'a=b' });
  await call(undefined);
  const own = spans()[1]?.spanContext();
  expect(seen).toEqual({ traceparent: `00-${own?.traceId}-${own?.spanId}-01` });
});

it.each(['', 'nonsense', `ff-${TRACE_ID}-${SPAN_ID}-01`, `00-${'0'.repeat(32)}-${SPAN_ID}-01`, `00-${TRACE_ID}-${'0'.repeat(16)}-01`])(
  'begins a trace of its own when traceparent is %j',
  async (traceparent) => {
    const { middleware, spans } = openTelemetry();
    await middleware(async () => ({}))({ method: 'tools/list', params: {} }, testContext({ trace: { traceparent } }));
    expect(spans()[0]?.parentSpanContext).toBeUndefined();
  },
);

it('measures durations in seconds, in the buckets of the conventions, by attributes that callers cannot multiply', async () => {
  const { middleware, points } = openTelemetry();
  const { url } = await startHttp({ service: testService().service, middleware: [middleware] });
  await (await fetch(url, callTool('echo'))).text();
  await (await fetch(url, callTool('echo'))).text();
  for (let n = 0; n < 3; n += 1) {
    await (await fetch(url, callTool(`made-up-${n}`))).text();
    await (await fetch(url, modernRequest(`made/up-${n}`))).text();
  }
  const {
    descriptor,
    points: [...series],
  } = await points();
  expect([descriptor?.name, descriptor?.unit]).toEqual(['mcp.server.operation.duration', 's']);
  const common = { 'mcp.protocol.version': '2026-07-28', 'network.transport': 'tcp', 'network.protocol.name': 'http' };
  const call = { ...common, 'mcp.method.name': 'tools/call', 'gen_ai.operation.name': 'execute_tool' };
  expect(series.map(({ attributes, value }) => [attributes, (value as { count: number }).count])).toEqual([
    [{ ...call, 'gen_ai.tool.name': 'echo' }, 2],
    [{ ...call, 'error.type': 'invalid_params', 'rpc.response.status_code': '-32602' }, 3],
    [{ ...common, 'mcp.method.name': '_OTHER', 'error.type': 'method_not_found', 'rpc.response.status_code': '-32601' }, 3],
  ]);
  expect(series[0]?.value).toMatchObject({ buckets: { boundaries: [...TELEMETRY.durationBuckets] } });
});

it('does nothing without an OpenTelemetry SDK', async () => {
  let seen: unknown = 'not called';
  const handler = telemetry()(async (_request, context) => {
    seen = context.trace;
    return { ok: true };
  });
  expect(await handler({ method: 'tools/list', params: {} }, testContext())).toEqual({ ok: true });
  expect(seen).toBeUndefined();
});
