import { RpcError } from '@mcp-blocks/core';
import { type AuditRecord, isFault, parseRecord } from './record.js';
import { openTrail } from './trail-source.js';

/**
 * The records of a trail (file or SQLite database) in stored order. Checks each against its own hash;
 * the chain is checked by `verifyAuditTrail`. An incomplete last line is left out.
 *
 * @throws RpcError `internal_error` at the first record that is malformed or changed.
 */
export async function* readAuditTrail(path: string): AsyncGenerator<AuditRecord> {
  const source = await openTrail(path);
  try {
    for await (const { bytes, line, complete } of source.records()) {
      if (!complete) return;
      const record = parseRecord(bytes);
      if (isFault(record))
        throw new RpcError('internal_error', `Audit trail, line ${line}: the record is ${record.kind}, ${record.message}`);
      yield record;
    }
  } finally {
    source.close();
  }
}
