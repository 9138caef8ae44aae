import { expect, it } from 'vitest';
import { type AuditEvent, type AuditSink, MemoryAuditSink, RpcError } from '../src/index.js';
import { type AuditSinkHarness, auditSinkContract } from '../src/testing/index.js';

const memory: AuditSinkHarness = {
  create: async () => {
    const sink = new MemoryAuditSink();
    return { sink, stored: async () => sink.events };
  },
};

for (const { name, run } of auditSinkContract) it(`the memory sink: ${name}`, () => run(memory));

it('the memory sink keeps the newest events up to its capacity', () => {
  const sink = new MemoryAuditSink(2);
  for (const time of [1, 2, 3]) sink.record({ type: 'test', time, outcome: 'allowed', actor: '-' });
  expect(sink.events.map(({ time }) => time)).toEqual([2, 3]);
});

/** A sink that stores on flush; each defect below breaks one promise. */
class QueueSink implements AuditSink {
  stored: AuditEvent[] = [];
  queue: AuditEvent[] = [];
  closed = false;
  record(event: AuditEvent): void {
    if (this.closed) throw new RpcError('internal_error', 'closed');
    this.queue.push(structuredClone(event));
  }
  async flush(): Promise<void> {
    this.stored.push(...this.queue.splice(0));
  }
  async close(): Promise<void> {
    await this.flush();
    this.closed = true;
  }
}

const broken: readonly { defect: string; caughtBy: RegExp; sink: () => QueueSink }[] = [
  {
    defect: 'accepts after close',
    caughtBy: /after close/,
    sink: () =>
      new (class extends QueueSink {
        override record(event: AuditEvent) {
          this.queue.push(structuredClone(event));
        }
      })(),
  },
  {
    defect: 'loses what was not flushed before close',
    caughtBy: /close stores/,
    sink: () =>
      new (class extends QueueSink {
        override async close() {
          this.closed = true;
        }
      })(),
  },
  {
    defect: 'keeps the object instead of what it said',
    caughtBy: /as it was when recorded/,
    sink: () =>
      new (class extends QueueSink {
        override record(event: AuditEvent) {
          this.queue.push(event);
        }
      })(),
  },
  {
    defect: 'drops what is beyond a thousand',
    caughtBy: /however many/,
    sink: () =>
      new (class extends QueueSink {
        override record(event: AuditEvent) {
          if (this.queue.length < 1000) super.record(event);
        }
      })(),
  },
  {
    defect: 'stores the newest first',
    caughtBy: /order is kept and nothing/,
    sink: () =>
      new (class extends QueueSink {
        override record(event: AuditEvent) {
          super.record(event);
          this.queue.unshift(this.queue.pop() as AuditEvent);
        }
      })(),
  },
  {
    defect: 'resolves flush before it has stored',
    caughtBy: /flush resolves only/,
    sink: () =>
      new (class extends QueueSink {
        override async flush() {
          setImmediate(() => super.flush());
        }
      })(),
  },
  {
    defect: 'drops unknown details',
    caughtBy: /every field/,
    sink: () =>
      new (class extends QueueSink {
        override record({ details: _details, ...event }: AuditEvent) {
          super.record(event);
        }
      })(),
  },
  {
    defect: 'cannot be closed twice',
    caughtBy: /may be called twice/,
    sink: () =>
      new (class extends QueueSink {
        override async close() {
          if (this.closed) throw new Error('closed');
          await super.close();
        }
      })(),
  },
];

it('a sink without defect passes', async () => {
  const sinks: QueueSink[] = [];
  const create = async () => {
    const sink = new QueueSink();
    sinks.push(sink);
    return { sink, stored: async () => sink.stored };
  };
  for (const { run } of auditSinkContract) await run({ create });
  expect(sinks).toHaveLength(auditSinkContract.length);
});

it.each(broken)('the contract notices a sink that $defect', async ({ sink: make, caughtBy }) => {
  const failed: string[] = [];
  for (const { name, run } of auditSinkContract) {
    await run({
      create: async () => {
        const sink = make();
        return { sink, stored: async () => sink.stored };
      },
    }).catch(() => failed.push(name));
  }
  expect(failed).toContainEqual(expect.stringMatching(caughtBy));
});
