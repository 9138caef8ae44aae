import { constants, DatabaseSync, type StatementSync } from 'node:sqlite';
import { Worker } from 'node:worker_threads';
import { type SqlOutcome, SqlStatement } from './sql-statement.js';

/** The program of the process that `SqlProcess` starts: runs the statements it is sent, one after the other. */
const MAX_ROWS = 200;
const MAX_RESULT_BYTES = 1024 * 1024;

/**
 * What a statement may begin with. Everything else (ATTACH, BEGIN, CREATE TEMP TABLE, PRAGMA, VACUUM INTO)
 * changes the connection, which all callers share, or other files, on a read-only connection too.
 */
const STATEMENTS = {
  read: { pattern: /^\s*(select|with|values)\b/i, refusal: 'This connection is read-only: only SELECT is possible here' },
  write: { pattern: /^\s*(insert|update|delete|with)\b/i, refusal: 'Only INSERT, UPDATE and DELETE are possible here' },
};

const [, , file, parentPid] = process.argv as [string, string, string, string];
const connections = {
  read: new DatabaseSync(file, { readOnly: true, timeout: 1_000 }),
  write: new DatabaseSync(file, { timeout: 1_000 }),
};

// PRAGMA is also to be had as a table (`pragma_database_list` tells where the file is).
for (const connection of Object.values(connections)) {
  connection.setAuthorizer((action) =>
    action === constants.SQLITE_PRAGMA || action === constants.SQLITE_ATTACH ? constants.SQLITE_DENY : constants.SQLITE_OK,
  );
}

// While a statement runs nothing else does here, so that a thread has to notice when nobody waits for it any more.
new Worker(new URL('./parent-watch.js', import.meta.url), { workerData: Number(parentPid) }).unref();

function outcomeOf({ access, sql, values }: SqlStatement): SqlOutcome {
  const { pattern, refusal } = STATEMENTS[access];
  if (!pattern.test(sql)) return { error: refusal };
  try {
    const statement = connections[access].prepare(sql);
    // SQLite prepares the first statement and leaves the rest.
    if (sql.slice(statement.sourceSQL.length).trim() !== '') return { error: 'One statement at a time: there is more after the first' };
    return access === 'read' ? rowsOf(statement, values) : { changes: Number(statement.run(...values).changes) };
  } catch (error) {
    // SQLite's own message helps whoever wrote the statement; it holds nothing but that statement's mistakes.
    const { message } = error as Error;
    return { error: /readonly/.test(message) ? refusal : `SQLite: ${message}` };
  }
}

function rowsOf(statement: StatementSync, values: SqlStatement['values']): SqlOutcome {
  const rows: Record<string, unknown>[] = [];
  let bytes = 0;
  for (const row of statement.iterate(...values)) {
    if (rows.length === MAX_ROWS) return { rows, truncated: true };
    bytes += JSON.stringify(row).length;
    if (bytes > MAX_RESULT_BYTES) return { error: `The result is larger than ${MAX_RESULT_BYTES} bytes` };
    rows.push({ ...row });
  }
  return { rows, truncated: false };
}

process.on('message', (message) => {
  process.send?.(outcomeOf(SqlStatement.parse(message)), () => {
    // Whoever asked is gone, perhaps killed; 'disconnect' ends this process too.
  });
});
process.on('disconnect', () => process.exit());
