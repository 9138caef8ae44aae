import { ChainedAuditSink, type ChainedAuditSinkOptions } from './chained-audit-sink.js';
import { type FileRotation, FileTrailStore } from './file-trail-store.js';

/** Options of {@link FileAuditSink}. */
export interface FileAuditSinkOptions extends ChainedAuditSinkOptions, FileRotation {
  /**
   * The trail: a file of JSON lines, made if need be. Beside it come `<path>.head`, `<path>.lock` and,
   * finished, `<path>.<seq of their last record>`.
   */
  readonly path: string;
}

/**
 * A hash-chained audit trail in a file, one JSON record a line.
 *
 * Opening continues the chain. What a crash left behind the last durable record is repaired and told in
 * an `audit.recovered` event; anything a crash does not explain is refused.
 */
export class FileAuditSink extends ChainedAuditSink {
  /**
   * Opens the file; reads no more of it than the records after its head.
   * @throws ConfigurationError when an option is wrong or the file cannot be opened; RpcError
   * `unavailable` when the trail has a writer already, `internal_error` when it is damaged.
   */
  constructor({ path, maxFileBytes, maxFileAgeMs, ...options }: FileAuditSinkOptions) {
    const rotation = {
      ...(maxFileBytes === undefined ? {} : { maxFileBytes }),
      ...(maxFileAgeMs === undefined ? {} : { maxFileAgeMs }),
    };
    super(() => new FileTrailStore(path, rotation, options.clock), options);
  }
}
