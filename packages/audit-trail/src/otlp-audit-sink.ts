import { randomUUID } from 'node:crypto';
import { type Clock, ConfigurationError, isJsonObject, type Random, systemClock } from '@mcp-blocks/core';
import { logRecord, pairs } from './otlp-records.js';
import { inRange, QueuedAuditSink, type QueuedAuditSinkOptions } from './queued-audit-sink.js';

/** Options of {@link OtlpAuditSink}. */
export interface OtlpAuditSinkOptions extends QueuedAuditSinkOptions {
  /** The collector's logs endpoint, such as `http://localhost:4318/v1/logs`. */
  readonly url: string;
  /** Further request headers, such as `authorization`. */
  readonly headers?: Readonly<Record<string, string>>;
  /** The resource's `service.name`. Default: `mcp-server`. */
  readonly serviceName?: string;
  /** Further attributes of the resource. */
  readonly resource?: Readonly<Record<string, string>>;
  /** Longest a request may take, in milliseconds; a positive integer. Default: 10,000. */
  readonly timeoutMs?: number;
  /** Longest pause between attempts, in milliseconds, unless the collector asks for a longer one; a positive integer. Default: 30,000. */
  readonly maxRetryDelayMs?: number;
  /** Told of events that the collector refused for good, how many and why. They are not sent again. */
  readonly onRejected?: (count: number, reason: string) => void;
  readonly fetch?: typeof fetch;
  readonly random?: Random;
}

/** A collector's answer that is no success. */
class CollectorError extends Error {
  override readonly name = 'CollectorError';
  readonly status: number;
  readonly retryAfterMs: number | undefined;

  constructor(status: number, retryAfterMs: number | undefined) {
    super(`the collector answered ${status}`);
    this.status = status;
    this.retryAfterMs = retryAfterMs;
  }
}

/**
 * Sends events as log records over OTLP/HTTP with JSON to an OpenTelemetry collector.
 *
 * A batch is sent again, with full-jitter backoff from `retryDelayMs` to `maxRetryDelayMs` and obeying
 * `Retry-After`, until the collector takes it; OTLP would drop it on most other answers than 429, 502, 503
 * and 504, which an audit trail does not. Only what is itself at fault (400, 413, or rejected in a
 * partial success) is given up, alone, and told to `onRejected`. A batch whose answer was lost is sent twice;
 * `log.record.uid` is the same then.
 *
 * There is no hash chain here: keep one in a sink beside it.
 */
export class OtlpAuditSink extends QueuedAuditSink {
  readonly #options: OtlpAuditSinkOptions;
  readonly #clock: Clock;
  readonly #timeoutMs: number;
  readonly #retryDelayMs: number;
  readonly #maxRetryDelayMs: number;
  readonly #resource: object;
  readonly #instance = randomUUID();
  #sent = 0;

  /** @throws ConfigurationError when an option is wrong. */
  constructor(options: OtlpAuditSinkOptions) {
    super(options);
    // The URL is not repeated: it may hold a password.
    if (!URL.canParse(options.url) || !/^https?:$/.test(new URL(options.url).protocol)) {
      throw new ConfigurationError('url', 'expected an http:// or https:// URL');
    }
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#timeoutMs = inRange('timeoutMs', options.timeoutMs ?? 10_000, 1);
    this.#retryDelayMs = options.retryDelayMs ?? 1_000;
    this.#maxRetryDelayMs = inRange('maxRetryDelayMs', options.maxRetryDelayMs ?? 30_000, 1);
    this.#resource = { attributes: pairs({ ...options.resource, 'service.name': options.serviceName ?? 'mcp-server' }) };
  }

  protected async write(events: readonly string[]): Promise<void> {
    const now = this.#clock.now();
    await this.#send(events.map((text, index) => logRecord(text, `${this.#instance}-${this.#sent + index + 1}`, now)));
    this.#sent += events.length;
  }

  protected override retryDelay(failures: number, error: unknown): number {
    const backoff = Math.min(this.#maxRetryDelayMs, this.#retryDelayMs * 2 ** (failures - 1)) * (this.#options.random ?? Math.random)();
    const asked = error instanceof CollectorError ? (error.retryAfterMs ?? 0) : 0;
    return Math.max(1, Math.ceil(backoff), asked);
  }

  protected release(): Promise<void> {
    return Promise.resolve();
  }

  /** Sends records, in halves where the collector says that one of them, or their size, is at fault. */
  async #send(records: readonly object[]): Promise<void> {
    try {
      await this.#post(records);
    } catch (error) {
      if (!(error instanceof CollectorError) || ![400, 413].includes(error.status)) throw error;
      if (records.length === 1) this.#options.onRejected?.(1, error.message);
      else {
        const half = Math.ceil(records.length / 2);
        await this.#send(records.slice(0, half));
        await this.#send(records.slice(half));
      }
    }
  }

  async #post(logRecords: readonly object[]): Promise<void> {
    const scopeLogs = [{ scope: { name: '@mcp-blocks/audit-trail' }, logRecords }];
    const response = await (this.#options.fetch ?? fetch)(this.#options.url, {
      method: 'POST',
      headers: { ...this.#options.headers, 'content-type': 'application/json' },
      body: JSON.stringify({ resourceLogs: [{ resource: this.#resource, scopeLogs }] }),
      redirect: 'error',
      signal: AbortSignal.timeout(this.#timeoutMs),
    });
    const text = await response.text();
    if (!response.ok) throw new CollectorError(response.status, retryAfterMs(response.headers.get('retry-after'), this.#clock.now()));
    const partial = partialSuccess(text);
    if (partial !== undefined) this.#options.onRejected?.(partial.rejected, partial.reason);
  }
}

/** RFC 9110, section 10.2.3: seconds or a date. */
function retryAfterMs(header: string | null, now: number): number | undefined {
  if (header === null) return undefined;
  const ms = /^\d+$/.test(header) ? Number(header) * 1_000 : Date.parse(header) - now;
  return Number.isFinite(ms) && ms > 0 ? Math.min(ms, 3_600_000) : undefined;
}

function partialSuccess(text: string): { rejected: number; reason: string } | undefined {
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    return undefined;
  }
  const partial = isJsonObject(body) ? body.partialSuccess : undefined;
  if (!isJsonObject(partial)) return undefined;
  const rejected = Number(partial.rejectedLogRecords ?? 0);
  const reason = typeof partial.errorMessage === 'string' ? partial.errorMessage : '';
  return rejected > 0 ? { rejected, reason } : undefined;
}
