import { request } from 'node:http';
import { type AuditEvent, ConfigurationError, type JsonObject, MemoryAuditSink } from '@mcp-blocks/core';
import { ManualClock } from '@mcp-blocks/core/testing';
import { encryptedWebSocket } from '@mcp-blocks/encrypted-websocket';
import fc from 'fast-check';
import { describe, expect, it, onTestFinished } from 'vitest';
import { http, SecureMCPServer } from '../src/index.js';
import { RefusalDamper } from '../src/refusal-damper.js';
import { callTool, startHttp, testJwt, testService, token } from './support/server.js';

const counted = (events: readonly AuditEvent[]) =>
  events.reduce((sum, { details }) => sum + ((details?.suppressed as number | undefined) ?? 1), 0);
const refusals = (events: readonly AuditEvent[]) => events.filter(({ outcome }) => outcome === 'denied');

describe('a flood of refusals', () => {
  it('makes a bounded number of records, and one that counts the rest when the window ends', async () => {
    const clock = new ManualClock(Date.now());
    const { url, audit, server } = await startHttp({ service: testService().service, clock, refusalAudit: { maxPerAddress: 3 } });
    const attempt = async (authorization: string) => {
      const response = await fetch(url, callTool('echo', {}, { authorization }));
      await response.text();
      return response.status;
    };
    for (let n = 0; n < 10; n += 1) expect(await attempt(n % 2 === 0 ? 'Bearer x.y.z' : 'Bearer opaque')).toBe(401);
    expect(refusals(audit.events)).toHaveLength(3);
    expect(server.metrics().authFailures).toBe(10);
    await clock.advance(60_000);
    expect(refusals(audit.events).slice(3)).toEqual([
      {
        type: 'auth.failed',
        time: expect.any(Number),
        outcome: 'denied',
        actor: '-',
        reason: 'unrecognised credentials',
        transport: 'http',
        remoteAddress: '127.0.0.1',
        details: { suppressed: 7, reasons: { 'unrecognised credentials': 4, malformed: 3 } },
      },
    ]);
    expect(await attempt('Bearer opaque')).toBe(401);
    expect(refusals(audit.events)).toHaveLength(5);
    await clock.advance(60_000);
    expect(refusals(audit.events)).toHaveLength(5);
  });

  it('is counted for requests and connections too, each apart, and recorded when the server stops', async () => {
    const clock = new ManualClock(Date.now());
    const audit = new MemoryAuditSink();
    const server = new SecureMCPServer({
      service: testService().service,
      authenticators: [testJwt()],
      listeners: [http({ port: 0, upgrades: [encryptedWebSocket({ path: '/ws' })] })],
      audit,
      clock,
      refusalAudit: { maxPerAddress: 1 },
    });
    await server.start();
    onTestFinished(() => server.stop());
    const [url, ws] = server.endpoints as [string, string];
    for (let n = 0; n < 4; n += 1) {
      await (await fetch(url, callTool('echo', {}, { origin: 'https://evil.example' }))).text();
      const upgrade = { connection: 'Upgrade', upgrade: 'websocket', origin: 'https://evil.example' };
      const status = new Promise((resolve) => {
        request(ws.replace('ws:', 'http:'), { headers: upgrade }, (response) => resolve(response.resume().statusCode)).end();
      });
      expect(await status).toBe(403);
    }
    await (await fetch(url, callTool('echo', {}, { authorization: `Bearer ${token()}` }))).text();
    await server.stop();
    const events = refusals(audit.events);
    expect(counted(events)).toBe(8);
    expect(events.length).toBeLessThanOrEqual(4);
    expect(audit.events.at(-1)).toMatchObject({ type: 'server.stopped' });
    expect(clock.pendingTimers).toBe(0);
  });
});

describe('the damper', () => {
  const refusal = (type: string, address: string | undefined, reason: string): AuditEvent => ({
    type,
    time: 1,
    outcome: 'denied',
    actor: '-',
    reason,
    transport: 'http',
    ...(address === undefined ? {} : { remoteAddress: address }),
  });

  it('loses no refusal from the count, and never writes more than its bound, whatever comes', async () => {
    const step = fc.record({
      type: fc.constantFrom('auth.failed', 'request.refused'),
      address: fc.option(fc.oneof(fc.ipV4(), fc.ipV6(), fc.constantFrom('10.0.0.1', '10.0.0.2')), { nil: undefined }),
      reason: fc.string(),
      waitMs: fc.constantFrom(0, 0, 0, 1, 500, 1500),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
        const clock = new ManualClock();
        const written: (AuditEvent & { at: number })[] = [];
        const damper = new RefusalDamper((event) => written.push({ ...event, at: clock.now() }), clock, {
          maxPerAddress: 2,
          windowMs: 1000,
          maxAddresses: 3,
        });
        for (const { type, address, reason, waitMs } of steps) {
          damper.record(refusal(type, address, reason));
          if (waitMs > 0) await clock.advance(waitMs);
        }
        damper.flush();
        expect(counted(written)).toBe(steps.length);
        expect(clock.pendingTimers).toBe(0);
        for (const { at } of written) {
          // Three tallies and one more of each kind, in at most two windows that meet a second, three records each.
          expect(written.filter((other) => other.at >= at && other.at < at + 1000).length).toBeLessThanOrEqual(5 * 2 * 3);
        }
        for (const { details } of written) {
          const reasons = Object.values((details?.reasons ?? {}) as JsonObject) as number[];
          expect(reasons.length).toBeLessThanOrEqual(11);
          if (details !== undefined) expect(reasons.reduce((a, b) => a + b, 0)).toBe(details.suppressed);
        }
      }),
      { numRuns: 50 },
    );
  });

  it('counts addresses of one IPv6 network together, and says no address where there are many', () => {
    const written: AuditEvent[] = [];
    const damper = new RefusalDamper((event) => written.push(event), new ManualClock(), { maxPerAddress: 1, maxAddresses: 1 });
    for (const address of ['2001:db8::1', '2001:db8::2', '2001:db8:0:0:ffff::', '192.0.2.1', '192.0.2.2', '192.0.2.3'])
      damper.record(refusal('auth.failed', address, 'expired'));
    damper.flush();
    expect(written.map(({ remoteAddress, details }) => [remoteAddress, details?.suppressed])).toEqual([
      ['2001:db8::1', undefined],
      ['192.0.2.1', undefined],
      ['2001:db8:0:0:ffff::', 2],
      [undefined, 2],
    ]);
  });

  it('lets everything else pass, in order', () => {
    const written: AuditEvent[] = [];
    const damper = new RefusalDamper((event) => written.push(event), new ManualClock(), { maxPerAddress: 1 });
    const known: AuditEvent = { type: 'ws.closed', time: 1, outcome: 'denied', actor: 'alice', remoteAddress: '10.0.0.1' };
    const started: AuditEvent = { type: 'server.started', time: 1, outcome: 'succeeded', actor: '-' };
    for (let n = 0; n < 3; n += 1) for (const event of [known, started]) damper.record(event);
    expect(written).toEqual([known, started, known, started, known, started]);
  });
});

it.each([
  ['maxPerAddress', 0],
  ['windowMs', 999],
  ['windowMs', 3_600_001],
  ['maxAddresses', 1.5],
])('refusalAudit.%s cannot be %d', (option, value) => {
  const make = () =>
    new SecureMCPServer({
      service: testService().service,
      allowAnonymous: true,
      listeners: [http({ port: 0 })],
      refusalAudit: { [option]: value },
    });
  expect(make).toThrowError(ConfigurationError);
  expect(make).toThrowError(`refusalAudit.${option}`);
});
