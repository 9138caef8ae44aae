import { createServer } from 'node:http';
import { type AuditEvent, isJsonObject } from '@mcp-blocks/core';
import { auditSinkContract, ManualClock, settle } from '@mcp-blocks/core/testing';
import { describe, expect, it, onTestFinished } from 'vitest';
import { z } from 'zod';
import { OtlpAuditSink, type OtlpAuditSinkOptions } from '../src/otlp.js';
import { event } from './trails.js';

// ExportLogsServiceRequest of OTLP 1.x in protobuf's JSON mapping, with OTLP's own rules: camel case, ids in hex,
// 64-bit integers as decimal strings, enums as numbers.
const anyValue: z.ZodType = z.lazy(() =>
  z.union([
    z.strictObject({ stringValue: z.string() }),
    z.strictObject({ boolValue: z.boolean() }),
    z.strictObject({ intValue: z.string().regex(/^-?\d+$/) }),
    z.strictObject({ doubleValue: z.number() }),
    z.strictObject({ arrayValue: z.strictObject({ values: z.array(anyValue) }) }),
    z.strictObject({ kvlistValue: z.strictObject({ values: z.array(keyValue) }) }),
    z.strictObject({}),
  ]),
);
const keyValue = z.strictObject({ key: z.string(), value: anyValue });
const nanos = z.string().regex(/^\d{1,20}$/);
const logRecord = z.strictObject({
  timeUnixNano: nanos,
  observedTimeUnixNano: nanos,
  severityNumber: z.int().min(1).max(24),
  severityText: z.string(),
  eventName: z.string(),
  body: z.strictObject({ stringValue: z.string() }),
  attributes: z.array(keyValue).refine((pairs) => new Set(pairs.map(({ key }) => key)).size === pairs.length),
  traceId: z
    .string()
    .regex(/^[0-9a-f]{32}$/)
    .optional(),
});
const request = z.strictObject({
  resourceLogs: z.array(
    z.strictObject({
      resource: z.strictObject({ attributes: z.array(keyValue) }),
      scopeLogs: z.array(z.strictObject({ scope: z.strictObject({ name: z.string() }), logRecords: z.array(logRecord).min(1) })),
    }),
  ),
});

type Answer = { status: number; headers?: Record<string, string>; body?: object };
type LogRecord = z.infer<typeof logRecord>;

/** Takes what the documented encoding allows and answers as it is told, with success when it is not. */
async function standIn() {
  const records: LogRecord[] = [];
  const requests: { headers: Record<string, unknown>; resource: unknown; size: number }[] = [];
  const answers: (Answer | ((batch: LogRecord[]) => Answer | undefined))[] = [];
  const server = createServer(async (incoming, outgoing) => {
    let text = '';
    for await (const chunk of incoming) text += chunk;
    const parsed = request.safeParse(JSON.parse(text));
    if (!parsed.success) requests.push(expect.unreachable(`not OTLP: ${parsed.error.message}`) as never);
    const { resource, scopeLogs } = parsed.data!.resourceLogs[0]!;
    const batch = scopeLogs[0]!.logRecords;
    requests.push({ headers: incoming.headers, resource, size: batch.length });
    const next = answers[0];
    const answer = (typeof next === 'function' ? next(batch) : (answers.shift() as Answer | undefined)) ?? { status: 200 };
    if (answer.status === 200) records.push(...batch);
    outgoing.writeHead(answer.status, { 'content-type': 'application/json', ...answer.headers });
    outgoing.end(JSON.stringify(answer.body ?? {}));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  const url = `http://127.0.0.1:${(server.address() as { port: number }).port}/v1/logs`;
  return { url, records, requests, answers, events: () => records.map(({ body }) => JSON.parse(body.stringValue) as AuditEvent) };
}

const open = (options: OtlpAuditSinkOptions) => new OtlpAuditSink({ batchDelayMs: 0, ...options });

describe('the OTLP sink, against a stand-in for a collector that checks the documented JSON', () => {
  for (const { name, run } of auditSinkContract) {
    it(name, () =>
      run({
        create: async () => {
          const { url, events } = await standIn();
          return { sink: open({ url }), stored: async () => events() };
        },
      }),
    );
  }

  it('says everything in fields of its own, and the event as it is in the body', async () => {
    const { url, records, requests } = await standIn();
    const clock = new ManualClock();
    const sink = open({ url, clock, serviceName: 'orders', resource: { region: 'eu' }, headers: { authorization: 'Bearer x' } });
    sink.record({
      ...event(1_700_000_000_123, { n: 1, f: 0.5, b: true, list: [1, null, 'x'], nested: { a: {} }, none: null }),
      outcome: 'denied',
      target: 'pay',
      traceId: '0af7651916cd43dd8448eb211c80319c',
    });
    sink.record({ ...event(-5), traceId: 'odd', outcome: 'failed' });
    await sink.close();
    expect(requests[0]).toMatchObject({ headers: { authorization: 'Bearer x', 'content-type': 'application/json' } });
    expect(requests[0]!.resource).toEqual({
      attributes: [
        { key: 'region', value: { stringValue: 'eu' } },
        { key: 'service.name', value: { stringValue: 'orders' } },
      ],
    });
    expect(records[0]).toMatchObject({
      timeUnixNano: '1700000000123000000',
      severityNumber: 13,
      severityText: 'WARN',
      eventName: 'tool.call',
      traceId: '0af7651916cd43dd8448eb211c80319c',
    });
    const details = records[0]!.attributes.find(({ key }) => key === 'mcp_blocks.audit.details')?.value as object;
    expect(JSON.stringify(details)).toContain('{"key":"n","value":{"intValue":"1"}}');
    expect(records[0]!.attributes).toContainEqual({ key: 'enduser.id', value: { stringValue: 'alice' } });
    expect(records[1]).toMatchObject({ timeUnixNano: '0', severityNumber: 17 });
    expect(isJsonObject(records[1]) && 'traceId' in records[1]).toBe(false);
    expect(clock.pendingTimers).toBe(0);
  });

  it.each([429, 503, 500, 401])('sends again after %i, with growing pauses and the same uid', async (status) => {
    const { url, records, requests, answers } = await standIn();
    const clock = new ManualClock();
    const errors: Error[] = [];
    let wake = () => {};
    const onError = (error: Error) => {
      errors.push(error);
      wake();
    };
    const sink = open({ url, clock, onError, random: () => 1, retryDelayMs: 100, maxRetryDelayMs: 300 });
    answers.push({ status }, { status }, { status, headers: { 'retry-after': '5' } });
    const failed = () => new Promise<void>((resolve) => (wake = resolve));
    sink.record(event(1));
    for (const pause of [0, 100, 200]) {
      const failure = failed();
      await clock.advance(pause);
      await failure;
      await settle();
    }
    await clock.advance(4_999);
    expect(requests).toHaveLength(3);
    expect(errors[0]).toMatchObject({ code: 'unavailable', cause: { status } });
    await clock.advance(1);
    await sink.close();
    expect(requests).toHaveLength(4);
    expect(records).toHaveLength(1);
  });

  it('gives up only the event that is at fault, and says so', async () => {
    const { url, events, answers } = await standIn();
    const rejected: unknown[] = [];
    const sink = open({ url, onRejected: (count, reason) => rejected.push([count, reason]) });
    answers.push((batch) => (batch.some(({ eventName }) => eventName === 'bad') ? { status: 400 } : undefined));
    for (let time = 1; time <= 5; time += 1) sink.record({ ...event(time), type: time === 3 ? 'bad' : 'good' });
    await sink.close();
    expect(events().map(({ time }) => time)).toEqual([1, 2, 4, 5]);
    expect(rejected).toEqual([[1, 'the collector answered 400']]);
  });

  it('tells of a partial success and does not repeat it', async () => {
    const { url, requests, answers } = await standIn();
    const rejected: unknown[] = [];
    const sink = open({ url, onRejected: (count, reason) => rejected.push([count, reason]) });
    answers.push({ status: 200, body: { partialSuccess: { rejectedLogRecords: '2', errorMessage: 'too old' } } });
    sink.record(event(1));
    sink.record(event(2));
    await sink.close();
    expect(rejected).toEqual([[2, 'too old']]);
    expect(requests).toHaveLength(1);
  });

  it('does not wait longer than it may, and accepts up to the bound meanwhile', async () => {
    const silent = createServer(() => {});
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    onTestFinished(async () => {
      silent.closeAllConnections();
      await new Promise((resolve) => silent.close(resolve));
    });
    const sink = open({ url: `http://127.0.0.1:${(silent.address() as { port: number }).port}/`, timeoutMs: 20, maxQueuedRecords: 2 });
    sink.record(event(1));
    sink.record(event(2));
    expect(() => sink.record(event(3))).toThrow(expect.objectContaining({ code: 'unavailable' }));
    await expect(sink.flush()).rejects.toMatchObject({ code: 'unavailable', cause: { name: 'TimeoutError' } });
    expect(sink.queuedRecords).toBe(2);
  });

  it.each<[options: object, option: string]>([
    [{ url: 'localhost:4318' }, 'url'],
    [{ url: 'ftp://x' }, 'url'],
    [{ url: 'http://x', timeoutMs: 0 }, 'timeoutMs'],
    [{ url: 'http://x', maxRetryDelayMs: 0 }, 'maxRetryDelayMs'],
  ])('refuses %j', (options, option) => {
    expect(() => open(options as OtlpAuditSinkOptions)).toThrow(expect.objectContaining({ name: 'ConfigurationError', option }));
  });
});

const real = process.env['MCP_BLOCKS_OTLP_URL'];
it.skipIf(real === undefined)('a real collector (MCP_BLOCKS_OTLP_URL) takes every event', async () => {
  const rejected: unknown[] = [];
  const sink = open({ url: real as string, onRejected: (...told) => rejected.push(told) });
  sink.record(event(Date.now(), { list: [1, null, { a: 0.5 }] }));
  await sink.flush();
  await sink.close();
  expect(rejected).toEqual([]);
});
