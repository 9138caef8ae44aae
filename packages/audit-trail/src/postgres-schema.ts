import { ConfigurationError } from '@mcp-blocks/core';

/** What {@link postgresAuditSchema} is made for. */
export interface PostgresSchemaOptions {
  /** Where the tables go, made if need be. Default: `mcp_audit`. */
  readonly schema?: string;
  /** The role that the sink logs in with; it must exist. It may add records, and read. */
  readonly writer: string;
}

/**
 * The SQL that a database's owner runs once, in one go, before a `PostgresAuditSink` is opened by `writer`.
 *
 * The writer gets INSERT and SELECT only, and triggers refuse UPDATE, DELETE and TRUNCATE to everybody,
 * the owner included; pruning is the owner's, who takes the trigger away for the time of one transaction.
 *
 * @throws ConfigurationError for a name that is not a plain one (lower-case letters, digits, `_`).
 */
export function postgresAuditSchema({ schema = 'mcp_audit', writer }: PostgresSchemaOptions): string {
  checkName('schema', schema);
  checkName('writer', writer);
  return `CREATE SCHEMA IF NOT EXISTS ${schema};

CREATE TABLE IF NOT EXISTS ${schema}.audit_records (
  seq     bigint PRIMARY KEY,
  record  text NOT NULL,             -- the record as it is hashed: canonical JSON
  time    double precision NOT NULL, -- the rest only for the indexes; verification compares it
  actor   text NOT NULL,
  type    text NOT NULL,
  outcome text NOT NULL,
  target  text
);
CREATE INDEX IF NOT EXISTS audit_records_time   ON ${schema}.audit_records (time, seq);
CREATE INDEX IF NOT EXISTS audit_records_actor  ON ${schema}.audit_records (actor, seq);
CREATE INDEX IF NOT EXISTS audit_records_type   ON ${schema}.audit_records (type, seq);
CREATE INDEX IF NOT EXISTS audit_records_target ON ${schema}.audit_records (target, seq);

-- Where the trail ended, a row a batch.
CREATE TABLE IF NOT EXISTS ${schema}.audit_heads (seq bigint PRIMARY KEY, hash text NOT NULL);
-- What stands for pruned records, a row a pruning.
CREATE TABLE IF NOT EXISTS ${schema}.audit_anchors (seq bigint PRIMARY KEY, anchor text NOT NULL);

CREATE OR REPLACE FUNCTION ${schema}.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'the audit trail is append-only: % refused', TG_OP USING ERRCODE = 'insufficient_privilege';
END $$;
${TABLES.map(
  (table) => `CREATE OR REPLACE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ${schema}.${table}
  FOR EACH STATEMENT EXECUTE FUNCTION ${schema}.refuse_change();`,
).join('\n')}

REVOKE ALL ON ALL TABLES IN SCHEMA ${schema} FROM PUBLIC, ${writer};
GRANT USAGE ON SCHEMA ${schema} TO ${writer};
GRANT SELECT ON ALL TABLES IN SCHEMA ${schema} TO ${writer};
GRANT INSERT ON ${schema}.audit_records, ${schema}.audit_heads TO ${writer};
`;
}

const TABLES = ['audit_records', 'audit_heads', 'audit_anchors'] as const;

/** Identifiers go into SQL as they are, so only those that need no quoting are taken. */
export function checkName(option: string, name: string): void {
  if (!/^[a-z_][a-z0-9_]{0,62}$/.test(name)) {
    throw new ConfigurationError(option, `expected a name of lower-case letters, digits and '_', got '${name}'`);
  }
}
