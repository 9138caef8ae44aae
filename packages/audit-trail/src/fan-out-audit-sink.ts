import { type AuditEvent, type AuditSink, ConfigurationError, RpcError } from '@mcp-blocks/core';

/** One of the sinks of a {@link FanOutAuditSink}. */
export interface FanOutMember {
  readonly sink: AuditSink;
  /** Whether an event that this sink does not take is refused. Default: true. */
  readonly required?: boolean;
}

/** Options of {@link FanOutAuditSink}. */
export interface FanOutOptions {
  /** Told of what a sink that is not required did not take or store, and which (its index). */
  readonly onError?: (error: Error, member: number) => void;
}

/**
 * Records every event into several sinks.
 *
 * A sink that is down holds nobody up: each queues up to its own bound. At the bound of a required one
 * `record` throws, though other sinks may have the event by then; at the bound of another, that sink alone
 * misses the event and `onError` is told. To lose nothing there either, wrap it in a `SpooledAuditSink`.
 */
export class FanOutAuditSink implements AuditSink {
  readonly #required: readonly AuditSink[];
  readonly #others: readonly { readonly sink: AuditSink; readonly index: number }[];
  readonly #onError: NonNullable<FanOutOptions['onError']>;
  #closed = false;

  /** @throws ConfigurationError without a member that is required. */
  constructor(members: readonly FanOutMember[], options: FanOutOptions = {}) {
    this.#required = members.filter(({ required }) => required !== false).map(({ sink }) => sink);
    this.#others = members.flatMap(({ sink, required }, index) => (required === false ? [{ sink, index }] : []));
    if (this.#required.length === 0) throw new ConfigurationError('members', 'expected at least one sink that is required');
    this.#onError = options.onError ?? (() => {});
  }

  record(event: AuditEvent): void {
    if (this.#closed) throw new RpcError('internal_error', 'The audit sink is closed');
    for (const sink of this.#required) sink.record(event);
    for (const { sink, index } of this.#others) {
      try {
        sink.record(event);
      } catch (error) {
        this.#onError(error as Error, index);
      }
    }
  }

  /** Waits for the required sinks only. */
  async flush(): Promise<void> {
    for (const { sink, index } of this.#others) sink.flush().catch((error: Error) => this.#onError(error, index));
    await all(this.#required.map((sink) => sink.flush()));
  }

  /** Closes every sink; rejects with the first failure after all were tried. */
  async close(): Promise<void> {
    this.#closed = true;
    await all([...this.#required, ...this.#others.map(({ sink }) => sink)].map((sink) => sink.close()));
  }
}

async function all(promises: readonly Promise<void>[]): Promise<void> {
  const outcomes = await Promise.allSettled(promises);
  const failed = outcomes.find((outcome) => outcome.status === 'rejected');
  if (failed !== undefined) throw failed.reason as Error;
}
