export { PostgresAuditSink, type PostgresAuditSinkOptions } from './postgres-audit-sink.js';
export type { PostgresOptions } from './postgres-connection.js';
export { type PostgresSchemaOptions, postgresAuditSchema } from './postgres-schema.js';
export { postgresTrail } from './postgres-trail.js';
