import assert from 'node:assert/strict';
import type { AuditEvent, AuditSink } from '../audit.js';
import { isRpcError } from '../errors.js';
import type { ContractCase } from './contract.js';

/** A sink, and a way to see what it has made durable that does not go through the sink. */
export interface AuditSinkSubject {
  readonly sink: AuditSink;
  /** The events stored, in order. Works while the sink is open and after it is closed. */
  stored(): Promise<readonly AuditEvent[]>;
}

/** What {@link auditSinkContract} needs of a driver. */
export interface AuditSinkHarness {
  /** Makes a sink over fresh, empty storage. The case closes it. */
  create(): Promise<AuditSinkSubject>;
}

/** What every {@link AuditSink} promises. */
export const auditSinkContract: readonly ContractCase<AuditSinkHarness>[] = [
  contractCase('an event is stored with every field as it was recorded', async ({ sink, stored }) => {
    const full: Required<AuditEvent> = {
      type: 'tool.call',
      time: 1_700_000_000_123,
      outcome: 'succeeded',
      actor: 'ünïcode "quoted"\n\u0000😀',
      target: 'lookup\tорден',
      reason: '',
      durationMs: 0.25,
      traceId: '0af7651916cd43dd8448eb211c80319c',
      transport: 'http',
      remoteAddress: '2001:db8::1',
      sessionId: 's',
      details: { nested: { list: [1, null, true, 'x'], '': {}, z: -0.5, a: 1e21 } },
    };
    const minimal: AuditEvent = { type: 'auth.failed', time: 0, outcome: 'denied', actor: '-' };
    sink.record(full);
    sink.record(minimal);
    await sink.flush();
    assert.deepEqual([...(await stored())], [full, minimal]);
  }),
  contractCase('an event is stored as it was when recorded, whatever becomes of the object', async ({ sink, stored }) => {
    const details = { step: 1 };
    sink.record({ ...numbered(1), details });
    details.step = 2;
    sink.record({ ...numbered(2), details });
    details.step = 3;
    await sink.flush();
    assert.deepEqual(
      (await stored()).map((event) => event.details),
      [{ step: 1 }, { step: 2 }],
    );
  }),
  contractCase('order is kept and nothing accepted is lost, however many are recorded at once', async ({ sink, stored }) => {
    for (let number = 1; number <= 2_500; number += 1) sink.record(numbered(number));
    await sink.flush();
    assert.deepEqual(numbersOf(await stored()), range(2_500));
  }),
  contractCase('order is kept between records and flushes that overlap', async ({ sink, stored }) => {
    const flushes: Promise<void>[] = [];
    for (let number = 1; number <= 300; number += 1) {
      sink.record(numbered(number));
      if (number % 7 === 0) flushes.push(sink.flush());
      if (number % 50 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    await Promise.all([...flushes, sink.flush()]);
    assert.deepEqual(numbersOf(await stored()), range(300));
  }),
  contractCase('flush resolves only when what was accepted before it is stored', async ({ sink, stored }) => {
    for (let round = 1; round <= 5; round += 1) {
      sink.record(numbered(round));
      await sink.flush();
      assert.deepEqual(numbersOf(await stored()), range(round));
    }
    await sink.flush();
    assert.equal((await stored()).length, 5);
  }),
  contractCase('close stores what was accepted, and may be called twice', async ({ sink, stored }) => {
    sink.record(numbered(1));
    sink.record(numbered(2));
    await Promise.all([sink.close(), sink.close()]);
    await sink.close();
    assert.deepEqual(numbersOf(await stored()), [1, 2]);
  }),
  contractCase('after close, record throws and flush has nothing to do', async ({ sink, stored }) => {
    sink.record(numbered(1));
    await sink.close();
    assert.throws(
      () => sink.record(numbered(2)),
      (error) => isRpcError(error) && error.code === 'internal_error',
    );
    await sink.flush();
    assert.deepEqual(numbersOf(await stored()), [1]);
  }),
];

function contractCase(name: string, run: (subject: AuditSinkSubject) => Promise<void>): ContractCase<AuditSinkHarness> {
  return {
    name,
    run: async (harness) => {
      const subject = await harness.create();
      await run(subject).finally(() => subject.sink.close());
    },
  };
}

function numbered(number: number): AuditEvent {
  return { type: 'test', time: number, outcome: 'allowed', actor: 'contract' };
}

function numbersOf(events: readonly AuditEvent[]): number[] {
  return events.map((event) => event.time);
}

function range(length: number): number[] {
  return Array.from({ length }, (_, index) => index + 1);
}
