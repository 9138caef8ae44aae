import type { Clock, JsonObject, JsonValue } from '@mcp-blocks/core';

export type LogLevel = 'info' | 'warn' | 'error';

/** What {@link Log} works with. */
export interface LogOptions {
  readonly write: (line: string) => void;
  /** `json`: one object a line; `plain`: for people. */
  readonly format: 'json' | 'plain';
  readonly clock: Clock;
}

/** What may come again and again is said once in this time. */
const REPEAT_MS = 60_000;
const MAX_KEYS = 1_000;

/** The lines a gateway writes. What {@link Log.redact} takes out is in none of them. */
export class Log {
  readonly #options: LogOptions;
  readonly #said = new Map<string, { readonly until: number; kept: number }>();
  /** Taken over with each configuration. */
  redact: (text: string) => string = (text) => text;

  constructor(options: LogOptions) {
    this.#options = options;
  }

  info(message: string, fields: JsonObject = {}): void {
    this.#line('info', message, fields);
  }

  /** The one line that scripts wait for. Nothing is taken out of it: a port is no secret. */
  listening(endpoints: readonly string[], services: readonly string[]): void {
    const { redact } = this;
    this.redact = (text) => text;
    this.info('listening', { endpoints: [...endpoints], services: [...services] });
    this.redact = redact;
  }

  warn(message: string, fields: JsonObject = {}): void {
    this.#line('warn', message, fields);
  }

  error(message: string, fields: JsonObject = {}): void {
    this.#line('error', message, fields);
  }

  /** A warning that may come often: once a minute for the same `message` and `about`, the next one with how many there were. */
  repeated(message: string, about: JsonObject, fields: JsonObject = {}): void {
    const now = this.#options.clock.now();
    const key = `${message} ${JSON.stringify(about)}`;
    const said = this.#said.get(key);
    if (said !== undefined && said.until > now) {
      said.kept += 1;
      return;
    }
    this.#said.delete(key);
    this.#said.set(key, { until: now + REPEAT_MS, kept: 0 });
    for (const oldest of this.#said.keys()) {
      if (this.#said.size <= MAX_KEYS) break;
      this.#said.delete(oldest);
    }
    this.#line('warn', message, { ...about, ...fields, ...(said === undefined || said.kept === 0 ? {} : { repeated: said.kept }) });
  }

  #line(level: LogLevel, message: string, fields: JsonObject): void {
    const { format, write, clock } = this.#options;
    const time = new Date(clock.now()).toISOString();
    if (format === 'json') {
      write(`${JSON.stringify({ time, level, message: this.redact(message), ...(this.#redacted(fields) as JsonObject) })}\n`);
      return;
    }
    const texts = Object.entries(this.#redacted(fields) as JsonObject).map(
      ([name, value]) => `${name}=${typeof value === 'string' && /^[^\s"=]+$/.test(value) ? value : JSON.stringify(value)}`,
    );
    // An upstream server's words are in some of it, and shall not command the terminal.
    write(`${[time, level, this.redact(message), ...texts].join(' ').replace(/[\p{Cc}\p{Cf}]/gu, '?')}\n`);
  }

  #redacted(value: JsonValue): JsonValue {
    if (typeof value === 'string') return this.redact(value);
    if (Array.isArray(value)) return value.map((item) => this.#redacted(item));
    if (typeof value !== 'object' || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, this.#redacted(member as JsonValue)]));
  }
}

/** What an error says of itself, for a line. */
export function errorText(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const reason = (error as { auditReason?: string }).auditReason;
  return reason === undefined ? error.message : `${error.message} (${reason})`;
}
