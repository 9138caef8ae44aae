export { OtlpAuditSink, type OtlpAuditSinkOptions } from './otlp-audit-sink.js';
