import { readdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { MemoryAuditSink, type RpcError } from '@mcp-blocks/core';
import { auditSinkContract, ManualClock } from '@mcp-blocks/core/testing';
import { describe, expect, it, vi } from 'vitest';
import { ChainedAuditSink, FanOutAuditSink, SpooledAuditSink, type SpooledAuditSinkOptions } from '../src/index.js';
import { event, trailPath } from './trails.js';

/** A sink over a storage that can be away. */
function storage(maxQueuedRecords = 1_000) {
  const stored: number[] = [];
  const state = { down: false };
  const sink = new ChainedAuditSink(
    () => ({
      head: { seq: 0, hash: '0'.repeat(64) },
      append: async (records) => {
        if (state.down) throw new Error('away');
        stored.push(...records.map((text) => (JSON.parse(text) as { event: { time: number } }).event.time));
      },
      close: async () => {},
    }),
    { batchDelayMs: 0, retryDelayMs: 60_000, maxQueuedRecords },
  );
  return { sink, stored, state };
}

const range = (count: number) => Array.from({ length: count }, (_, index) => index + 1);

describe('a fan-out', () => {
  for (const { name, run } of auditSinkContract) {
    it(name, () =>
      run({
        create: async () => {
          const memories = [new MemoryAuditSink(), new MemoryAuditSink()];
          const sink = new FanOutAuditSink(memories.map((memory, index) => ({ sink: memory, required: index === 0 })));
          return {
            sink,
            stored: async () => {
              expect(memories[1]!.events).toEqual(memories[0]!.events);
              return memories[0]!.events;
            },
          };
        },
      }),
    );
  }

  it('goes on while a sink that is not required is down, which misses only what is beyond its bound', async () => {
    const main = storage();
    const other = storage(2);
    other.state.down = true;
    const missed: unknown[] = [];
    const sink = new FanOutAuditSink([{ sink: main.sink }, { sink: other.sink, required: false }], {
      onError: (error, member) => missed.push([(error as RpcError).code, member]),
    });
    for (const time of range(4)) sink.record(event(time));
    await sink.flush();
    expect(main.stored).toEqual(range(4));
    expect(missed.slice(0, 2)).toEqual([
      ['unavailable', 1],
      ['unavailable', 1],
    ]);
    other.state.down = false;
    await sink.close();
    expect(other.stored).toEqual([1, 2]);
  });

  it('refuses at the bound of a required sink, and its flush and close say when one fails', async () => {
    const main = storage(1);
    const memory = new MemoryAuditSink();
    main.state.down = true;
    const sink = new FanOutAuditSink([{ sink: main.sink }, { sink: memory }]);
    sink.record(event(1));
    expect(() => sink.record(event(2))).toThrow(expect.objectContaining({ code: 'unavailable' }));
    expect(memory.events).toHaveLength(1);
    await expect(sink.flush()).rejects.toMatchObject({ code: 'unavailable' });
    await expect(sink.close()).rejects.toMatchObject({ code: 'unavailable' });
    main.state.down = false;
    await sink.close();
    expect(main.stored).toEqual([1]);
  });

  it('needs a sink that is required', () => {
    expect(() => new FanOutAuditSink([{ sink: new MemoryAuditSink(), required: false }])).toThrow(
      expect.objectContaining({ name: 'ConfigurationError', option: 'members' }),
    );
  });
});

describe('a spooled sink', () => {
  const open = (options: Pick<SpooledAuditSinkOptions, 'sink' | 'path'> & Partial<SpooledAuditSinkOptions>) =>
    new SpooledAuditSink({ retryDelayMs: 60_000, ...options });

  for (const { name, run } of auditSinkContract) {
    it(name, () =>
      run({
        create: async () => {
          const memory = new MemoryAuditSink();
          const sink = open({ path: trailPath('file'), sink: memory });
          return {
            sink,
            stored: async () => {
              await sink.delivered();
              return memory.events;
            },
          };
        },
      }),
    );
  }

  it('takes far more than the sink behind it while that is down, and catches up in order, each once', async () => {
    const behind = storage(700);
    behind.state.down = true;
    const sink = open({ path: trailPath('file'), sink: behind.sink });
    for (const time of range(2_000)) sink.record(event(time));
    await sink.flush();
    await expect(sink.delivered()).rejects.toMatchObject({ code: 'unavailable' });
    expect(sink.spooledRecords).toBe(2_000);
    behind.state.down = false;
    await sink.delivered();
    expect(behind.stored).toEqual(range(2_000));
    await sink.close();
  });

  it('delivers after a restart what it could not before', async () => {
    const path = trailPath('file');
    const before = storage();
    before.state.down = true;
    const first = open({ path, sink: before.sink });
    for (const time of range(3)) first.record(event(time));
    await expect(first.close()).rejects.toMatchObject({ code: 'unavailable' });
    const after = storage();
    const second = open({ path, sink: after.sink });
    second.record(event(4));
    await second.close();
    expect(after.stored).toEqual(range(4));
    const third = open({ path, sink: storage().sink });
    expect(third.spooledRecords).toBe(0);
    await third.close();
  });

  it('delivers by itself, also after everything was delivered before its time', async () => {
    const behind = storage();
    const clock = new ManualClock();
    const sink = open({ path: trailPath('file'), sink: behind.sink, clock });
    sink.record(event(1));
    await sink.delivered();
    await clock.advance(100);
    sink.record(event(2));
    await clock.advance(100);
    await vi.waitFor(() => expect(behind.stored).toEqual([1, 2]));
    await sink.close();
    expect(clock.pendingTimers).toBe(0);
  });

  it('does not keep what it has delivered', async () => {
    const path = trailPath('file');
    const behind = storage();
    const sink = open({ path, sink: behind.sink, maxFileBytes: 20_000 });
    for (let round = 0; round < 4; round += 1) {
      for (const time of range(600)) sink.record(event(time));
      await sink.delivered();
    }
    expect(readdirSync(dirname(path)).filter((name) => /\.\d+$/.test(name)).length).toBeLessThanOrEqual(3);
    await sink.close();
    expect(behind.stored).toHaveLength(2_400);
  });

  it('refuses at its bound, and says so', async () => {
    const behind = storage();
    behind.state.down = true;
    const sink = open({ path: trailPath('file'), sink: behind.sink, maxSpooledRecords: 2 });
    for (const time of range(2)) sink.record(event(time));
    expect(() => sink.record(event(3))).toThrow(expect.objectContaining({ code: 'unavailable' }));
    behind.state.down = false;
    await sink.delivered();
    sink.record(event(3));
    await sink.close();
    expect(behind.stored).toEqual(range(3));
  });

  it.each(['maxSpooledRecords', 'maxFileBytes', 'retryDelayMs'])('refuses %s of 0', (option) => {
    expect(() => open({ path: trailPath('file'), sink: new MemoryAuditSink(), [option]: 0 })).toThrow(expect.objectContaining({ option }));
  });
});
