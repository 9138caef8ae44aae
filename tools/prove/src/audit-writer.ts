// Records events as fast as it can and tells its parent what is flushed, until it is killed.
import { FileAuditSink, SqliteAuditSink } from '@mcp-blocks/audit-trail';

const [kind, path] = process.argv.slice(2) as ['file' | 'sqlite', string];
const sink =
  kind === 'file' ? new FileAuditSink({ path, batchDelayMs: 0, maxFileBytes: 200_000 }) : new SqliteAuditSink({ path, batchDelayMs: 0 });
for (let number = 1; ; number += 1) {
  sink.record({ type: 'test', time: number, outcome: 'allowed', actor: 'child', details: { filler: 'x'.repeat(number % 3000) } });
  if (number % 5 === 0) {
    await sink.flush();
    process.send?.({ seq: sink.head.seq, hash: sink.head.hash });
  }
}
