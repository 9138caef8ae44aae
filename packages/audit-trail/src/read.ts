import { RpcError } from '@mcp-blocks/core';
import { trailOf } from './open-trail.js';
import { type AuditRecord, isFault, parseRecord } from './record.js';
import type { RawRecord, StoredTrail } from './trail.js';

/**
 * The records of a trail (its path, or a stored trail) in stored order. Checks each against its own hash;
 * the chain is checked by `verifyAuditTrail`. An incomplete last line is left out.
 *
 * @throws RpcError `internal_error` at the first record that is malformed or changed.
 */
export async function* readAuditTrail(source: string | StoredTrail): AsyncGenerator<AuditRecord> {
  const trail = await trailOf(source).open();
  try {
    yield* intact(trail.records());
  } finally {
    await trail.close();
  }
}

/** The records, up to an incomplete one at the end. Throws at one that is not what it was. */
export async function* intact(records: AsyncIterable<RawRecord>): AsyncGenerator<AuditRecord> {
  for await (const { bytes, line, file, complete, rowFault } of records) {
    if (!complete) return;
    const record = parseRecord(bytes);
    const fault = isFault(record) ? `${record.kind}, ${record.message}` : rowFault?.(record);
    if (fault === undefined) yield record as AuditRecord;
    else throw new RpcError('internal_error', `Audit trail, ${file === undefined ? '' : `${file}, `}line ${line}: the record is ${fault}`);
  }
}
