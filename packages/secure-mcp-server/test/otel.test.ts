import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { type Listener, RpcError, TELEMETRY } from '@mcp-blocks/core';
import { ManualClock, settle, testContext } from '@mcp-blocks/core/testing';
import { encryptedWebSocket, WebSocketClientTransport } from '@mcp-blocks/encrypted-websocket';
import type { Transport } from '@modelcontextprotocol/client';
import { SpanKind, SpanStatusCode } from '@opentelemetry/api';
import { AggregationTemporality, InMemoryMetricExporter, MeterProvider, PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics';
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base';
import { expect, it, onTestFinished } from 'vitest';
import { http, SecureMCPServer, stdio, unixSocket } from '../src/index.js';
import { observeSessions, telemetry } from '../src/otel.js';
import { connectHttp, newClient } from './support/clients.js';
import { LineClientTransport } from './support/line-client.js';
import { callTool, ENVELOPE, modernRequest, startHttp, testJwt, testService, token } from './support/server.js';

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
    meter: measuring.getMeter('test'),
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

it('takes no more of an id than a span can hold', async () => {
  const { middleware, spans } = openTelemetry();
  const { url } = await startHttp({ service: testService().service, middleware: [middleware] });
  await (await fetch(url, modernRequest('tools/list', {}, {}, 'x'.repeat(100_000)))).text();
  expect(spans()[0]?.attributes['jsonrpc.request.id']).toBe('x'.repeat(128));
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

/** Both ends of a connection of each kind. */
const CONNECTIONS: Readonly<Record<string, () => { listener: Listener; client: (endpoint: string) => Promise<Transport> }>> = {
  unix: () => {
    const folder = mkdtempSync(join(tmpdir(), 'mcp-blocks-otel-'));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const path = join(folder, 'mcp.sock');
    const dial = async () => {
      const socket = connect(path);
      return new LineClientTransport(socket, socket) as Transport;
    };
    return { listener: unixSocket({ path }), client: dial };
  },
  stdio: () => {
    const [input, output] = [new PassThrough(), new PassThrough()];
    return { listener: stdio({ input, output }), client: async () => new LineClientTransport(output, input) as Transport };
  },
  websocket: () => ({
    listener: encryptedWebSocket({ port: 0 }),
    client: async (endpoint) => new WebSocketClientTransport(new URL(endpoint), { token: token() }) as Transport,
  }),
};

it.each([
  ['unix', 'auto', '2026-07-28', { 'network.transport': 'unix' }],
  ['unix', 'legacy', '2025-11-25', { 'network.transport': 'unix' }],
  ['stdio', 'auto', '2026-07-28', { 'network.transport': 'pipe' }],
  ['websocket', 'legacy', '2025-11-25', { 'network.transport': 'tcp', 'network.protocol.name': 'websocket' }],
] as const)('measures connections over %s, %s', async (kind, mode, version, network) => {
  const { meter, points } = openTelemetry();
  const clock = new ManualClock(Date.now());
  const { listener, client: dial } = (CONNECTIONS[kind] as (typeof CONNECTIONS)[string])();
  const server = new SecureMCPServer({ service: testService().service, authenticators: [testJwt()], listeners: [listener], clock });
  const ended = new Promise<void>((resolve) => {
    server.on('sessionEnded', () => resolve());
  });
  const stop = observeSessions(server, { meter });
  await server.start();
  onTestFinished(() => server.stop());
  const client = newClient(mode);
  await client.connect((await dial(server.endpoints[0] as string)) as never);
  await client.callTool({ name: 'echo' });
  await clock.advance(7000);
  expect((await points()).points).toEqual([]);
  await client.close();
  await ended;
  const { descriptor, points: series } = await points();
  expect([descriptor?.name, descriptor?.unit]).toEqual(['mcp.server.session.duration', 's']);
  expect(series.map(({ attributes, value }) => [attributes, value])).toEqual([
    [{ 'mcp.protocol.version': version, ...network }, expect.objectContaining({ count: 1, sum: 7 })],
  ]);
  expect(series[0]?.value).toMatchObject({ buckets: { boundaries: [...TELEMETRY.durationBuckets] } });
  stop();
});

it('measures legacy sessions over HTTP, closed and idle, and nothing that was never opened', async () => {
  const { meter, points } = openTelemetry();
  const clock = new ManualClock(Date.now());
  const { server, url } = await startHttp({
    service: testService().service,
    clock,
    listeners: [http({ port: 0, sessions: { idleTimeoutMs: 60_000 } })],
  });
  const stop = observeSessions(server, { meter });
  const closing = await connectHttp('legacy', url);
  await clock.advance(5000);
  await (closing.transport as unknown as { terminateSession(): Promise<void> }).terminateSession();
  const initialize = { jsonrpc: '2.0', id: 1, method: 'initialize', params: {} };
  const headers = { ...callTool('echo').headers, 'mcp-protocol-version': '2025-11-25' };
  await (await fetch(url, { method: 'POST', headers, body: JSON.stringify(initialize) })).text();
  await (await fetch(url, callTool('echo'))).text();
  const idle = await fetch(url, {
    method: 'POST',
    headers,
    body: JSON.stringify({
      ...initialize,
      params: { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 'raw', version: '1' } },
    }),
  });
  await idle.text();
  await clock.advance(60_000);
  await settle();
  const common = { 'network.transport': 'tcp', 'network.protocol.name': 'http' };
  const { points: series } = await points();
  expect(series.map(({ attributes, value }) => [attributes, (value as { count: number; sum: number }).sum])).toEqual([
    [{ ...common, 'mcp.protocol.version': '2025-11-25' }, 5],
    [{ ...common, 'mcp.protocol.version': '2025-06-18' }, 60],
  ]);
  stop();
  await (
    await fetch(url, {
      method: 'POST',
      headers,
      body: JSON.stringify({
        ...initialize,
        params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'raw', version: '1' } },
      }),
    })
  ).text();
  await server.stop();
  expect((await points()).points.map(({ value }) => (value as { count: number }).count)).toEqual([1, 1]);
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
