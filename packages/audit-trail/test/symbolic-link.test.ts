import { readFileSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { FileAuditSink, verifyAuditTrail } from '../src/index.js';
import { event, temporaryFolder } from './trails.js';

it.skipIf(process.platform === 'win32')('a link that somebody put beside a trail leads the sink to no other file', async () => {
  const folder = temporaryFolder();
  const [path, other] = [`${folder}/audit.jsonl`, `${folder}/other`];
  writeFileSync(other, 'of somebody else');
  const sink = new FileAuditSink({ path, batchDelayMs: 0 });
  symlinkSync(other, `${path}.head.tmp`);
  sink.record(event(1));
  await expect(sink.flush()).rejects.toMatchObject({ code: 'unavailable', cause: { code: 'ELOOP' } });
  expect(readFileSync(other, 'utf8')).toBe('of somebody else');
  unlinkSync(`${path}.head.tmp`);
  await sink.close();
  expect(await verifyAuditTrail(path)).toMatchObject({ ok: true, records: 1 });
});
