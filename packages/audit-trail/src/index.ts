export { type AuditTrailOptions, auditTrail } from './audit-middleware.js';
export { ChainedAuditSink, type ChainedAuditSinkOptions } from './chained-audit-sink.js';
export { FileAuditSink, type FileAuditSinkOptions } from './file-audit-sink.js';
export { readAuditTrail } from './read.js';
export type { AuditRecord, TrailHead } from './record.js';
export { type RedactionRules, redacting, redactor } from './redaction.js';
export { SqliteAuditSink, type SqliteAuditSinkOptions } from './sqlite-audit-sink.js';
export type { TrailStore } from './trail-store.js';
export { type AuditProblem, type AuditVerification, type VerifyOptions, verifyAuditTrail } from './verify.js';
