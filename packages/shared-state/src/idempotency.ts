import {
  type CancelTimer,
  type RpcContext,
  RpcError,
  type RpcHandler,
  type RpcMiddleware,
  type RpcRequest,
  type RpcResult,
  sleep,
} from '@mcp-blocks/core';
import { checkIdempotencyOptions, type IdempotencyOptions, type ResolvedIdempotencyOptions } from './idempotency-options.js';
import {
  asRecord,
  endOf,
  type IdempotencyRecord,
  type KeyedCall,
  keyedCallOf,
  type Outcome,
  outcomeOfError,
  outcomeOfResult,
  replay,
} from './idempotency-record.js';

/** Counts since construction, of calls with a key. */
export interface IdempotencyMetrics {
  /** Carried out here. */
  readonly executed: number;
  /** Answered with what was recorded before. */
  readonly replayed: number;
  /** Refused: the key belongs to a call with other arguments. */
  readonly reused: number;
  /** Refused: nobody knows, or not yet, how the call ended. */
  readonly unknown: number;
  /** Outcomes that wait to be recorded, while the store cannot be reached. */
  readonly unrecorded: number;
}

/** A call this process carries out. */
interface Claim {
  readonly name: string;
  readonly begun: IdempotencyRecord;
  /** What stood there before: it does again when the call turns out not to have been carried out. */
  readonly before: IdempotencyRecord;
  /** When its record was last put off. */
  keptAt: number;
}

type Step = { readonly claim: Claim } | { readonly outcome: Outcome } | 'wait';

/** A change of a record that has to be made when the store is back. */
interface Change {
  readonly name: string;
  readonly from: IdempotencyRecord;
  readonly to: IdempotencyRecord;
}

const FIRST_PAUSE_MS = 10;
const LONGEST_PAUSE_MS = 250;
const MAX_CHANGES = 10_000;

/**
 * Gives a call with `_meta["io.mcp-blocks/idempotencyKey"]` its effect once, however often and at whichever
 * node it arrives. Before it is carried out, a record in the shared store says that it was begun; afterwards
 * the record holds its outcome, and the call that comes again, by the same principal to the same tool, is
 * answered with that. While the first one is in progress, it waits.
 *
 * Fails with `RpcError` `invalid_params` (the key belongs to a call with other arguments, `data.reason:
 * 'idempotency_key_reused'`; or is no key), `ambiguous_outcome` (`idempotency_in_progress`: after `waitMs`;
 * `idempotency_unknown`: its node is gone, or it was given up half-way; `idempotency_result_not_kept`) and
 * `unavailable` (the store cannot be reached; not carried out).
 *
 * What a call failed with is recorded and repeated like a result, except where it says that the call was not
 * carried out: `unauthenticated`, `forbidden`, `insufficient_scope`, `missing_client_capability`,
 * `rate_limited`, `unavailable`. `cancelled`, `timeout` and `ambiguous_outcome` leave the outcome unknown.
 */
export class Idempotency {
  /** Put it last into the `middleware` of a server: what refuses calls goes before it. */
  readonly middleware: RpcMiddleware = (next) => (request, context) => this.#handle(next, request, context);
  readonly #options: ResolvedIdempotencyOptions;
  readonly #owner: string;
  readonly #prefix: string;
  /** What this process carries out, by the record's name. */
  readonly #running = new Map<string, { readonly claim: Claim; readonly end: Promise<unknown> }>();
  readonly #changes = new Set<Change>();
  #leaseUntil = 0;
  #renewing: Promise<void> | undefined;
  #cancelBeat: CancelTimer | undefined;
  #calls = 0;
  #counts = { executed: 0, replayed: 0, reused: 0, unknown: 0 };
  #closed: Promise<void> | undefined;

  /** @throws ConfigurationError naming the option that is missing, unknown or out of range. */
  constructor(options: IdempotencyOptions) {
    this.#options = checkIdempotencyOptions(options);
    this.#owner = this.#options.newId();
    this.#prefix = `idempotency:${encodeURIComponent(this.#options.serviceName)}`;
  }

  getMetrics(): IdempotencyMetrics {
    return { ...this.#counts, unrecorded: this.#changes.size };
  }

  /** Ends the signs of life, after a last attempt to record what is not recorded. Calls fail afterwards. Idempotent. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #handle(next: RpcHandler, request: RpcRequest, context: RpcContext): Promise<RpcResult> {
    const call = keyedCallOf(request, context);
    if (call === undefined) return next(request, context);
    const { clock, waitMs, onStoreFailure } = this.#options;
    const waitUntil = clock.now() + waitMs;
    for (let pauseMs = FIRST_PAUSE_MS, waited = false; ; pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS)) {
      let step: Step;
      try {
        if (this.#closed !== undefined) throw new RpcError('unavailable', 'The server is closing');
        step = await this.#step(call);
      } catch (error) {
        if (!(error instanceof StoreFailure)) throw error;
        if (onStoreFailure === 'run' && !waited) return next(request, context);
        throw new RpcError('unavailable', 'Whether the call was carried out before cannot be found out now', { cause: error.cause });
      }
      if (step !== 'wait') {
        if ('claim' in step) return this.#execute(step.claim, call, next, request, context);
        this.#counts.replayed += 1;
        return replay(step.outcome);
      }
      waited = true;
      if (clock.now() >= waitUntil) throw this.#open('idempotency_in_progress', 'The call with this idempotency key is still in progress');
      await this.#pause(call, Math.min(pauseMs, waitUntil - clock.now()), context.signal);
    }
  }

  /** Looks at the record of a call, and claims the call where it is nobody's. */
  async #step(call: KeyedCall): Promise<Step> {
    const { store, ttlMs, onUnknown } = this.#options;
    const local = this.#running.get(call.name)?.claim.begun;
    if (local !== undefined) {
      this.#assertSame(call, local);
      return 'wait';
    }
    await reached(this.#holdLease());
    this.#calls += 1;
    const begun: IdempotencyRecord = {
      state: 'begun',
      arguments: call.arguments,
      round: call.round,
      owner: this.#owner,
      call: this.#calls,
    };
    const nothing: IdempotencyRecord = { state: 'void', arguments: call.arguments, round: call.round };
    const key = this.#key(call.name);
    const claimed = (before: IdempotencyRecord, wrote: boolean): Step =>
      wrote ? { claim: { name: call.name, begun, before, keptAt: this.#options.clock.now() } } : 'wait';
    // Without an answer it may stand there all the same, and would be taken for a call in progress.
    const undoing = (before: IdempotencyRecord, writing: Promise<boolean>) =>
      reached(writing, () => this.#later({ name: call.name, from: begun, to: before }));

    if (await undoing(nothing, store.set(key, begun, { ifAbsent: true, ttlMs }))) return claimed(nothing, true);
    const record = asRecord(await reached(store.get(key)));
    if (record === undefined) return 'wait';
    const takeOver = async () => claimed(record, await undoing(record, store.compareAndSet(key, record, begun, { ttlMs })));
    if (record.state === 'void') return takeOver();
    this.#assertSame(call, record);
    if (record.state === 'done') return { outcome: record.outcome };
    if (record.state === 'asked') return record.round === call.round ? { outcome: record.outcome } : takeOver();
    if (record.state === 'begun') {
      if ((await reached(store.get(this.#lease(record.owner)))) !== undefined) return 'wait';
      // It may have ended, and its node too, between the two looks.
      const again = asRecord(await reached(store.get(key)));
      if (again?.state !== 'begun' || again.owner !== record.owner || again.call !== record.call) return 'wait';
    }
    if (onUnknown === 'retry') return takeOver();
    throw this.#open('idempotency_unknown', 'The call with this idempotency key was begun before; it may or may not have been carried out');
  }

  #assertSame(call: KeyedCall, record: IdempotencyRecord): void {
    if (record.arguments === call.arguments) return;
    this.#counts.reused += 1;
    throw new RpcError('invalid_params', 'The idempotency key belongs to a call with other arguments', {
      data: { reason: 'idempotency_key_reused' },
    });
  }

  async #execute(claim: Claim, call: KeyedCall, next: RpcHandler, request: RpcRequest, context: RpcContext): Promise<RpcResult> {
    const { maxResultBytes } = this.#options;
    this.#counts.executed += 1;
    const { arguments: digest, round } = call;
    const run = async (): Promise<RpcResult> => {
      try {
        const result = await next(request, context);
        const outcome = outcomeOfResult(result, maxResultBytes);
        const state = result.resultType === 'input_required' ? 'asked' : 'done';
        await this.#change(claim, { state, arguments: digest, round, outcome });
        return result;
      } catch (error) {
        await this.#change(claim, recordOfFailure(claim, error, context.signal.aborted, maxResultBytes));
        throw error;
      }
    };
    const end = run().finally(() => this.#running.delete(claim.name));
    this.#running.set(claim.name, { claim, end });
    this.#beatLater();
    return end;
  }

  async #change(claim: Claim, to: IdempotencyRecord): Promise<void> {
    const change = { name: claim.name, from: claim.begun, to };
    await this.#make(change).catch(() => this.#later(change));
  }

  async #make({ name, from, to }: Change): Promise<void> {
    const { store, ttlMs } = this.#options;
    const key = this.#key(name);
    const options = { ttlMs: to.state === 'void' ? 1 : ttlMs };
    if (await store.compareAndSet(key, from, to, options)) return;
    // The record was lost, or somebody has taken the call over, and theirs stays.
    if (to.state === 'done') await store.set(key, to, { ...options, ifAbsent: true });
  }

  #later(change: Change): void {
    const [oldest] = this.#changes;
    if (this.#changes.size >= MAX_CHANGES && oldest !== undefined) this.#changes.delete(oldest);
    this.#changes.add(change);
    this.#beatLater();
  }

  /** Makes sure that this process counts as alive for half a lease at least. */
  #holdLease(): Promise<void> {
    const { clock, leaseMs } = this.#options;
    if (this.#leaseUntil - clock.now() >= leaseMs / 2) return Promise.resolve();
    this.#renewing ??= this.#renewLease().finally(() => {
      this.#renewing = undefined;
    });
    return this.#renewing;
  }

  async #renewLease(): Promise<void> {
    const { store, clock, leaseMs } = this.#options;
    const now = clock.now();
    await store.set(this.#lease(this.#owner), true, { ttlMs: leaseMs });
    this.#leaseUntil = now + leaseMs;
  }

  #beatLater(): void {
    if (this.#closed !== undefined) return;
    this.#cancelBeat ??= this.#options.clock.setTimeout(() => void this.#beat(), this.#options.leaseMs / 3);
  }

  /** Says that this process is alive, and makes what could not be recorded. */
  async #beat(): Promise<void> {
    if (this.#running.size > 0 || this.#changes.size > 0) {
      try {
        await this.#renewLease();
        await this.#keepRecords();
        await this.#makeChanges();
      } catch {
        // The next beat tries again.
      }
    }
    this.#cancelBeat = undefined;
    if (this.#running.size > 0 || this.#changes.size > 0) this.#beatLater();
  }

  async #makeChanges(): Promise<void> {
    for (const change of this.#changes) {
      await this.#make(change);
      this.#changes.delete(change);
    }
  }

  /** A call may take longer than a record is kept. */
  async #keepRecords(): Promise<void> {
    const { store, clock, ttlMs } = this.#options;
    for (const { claim } of this.#running.values()) {
      if (clock.now() - claim.keptAt < ttlMs / 4) continue;
      claim.keptAt = clock.now();
      await store.compareAndSet(this.#key(claim.name), claim.begun, claim.begun, { ttlMs });
    }
  }

  /** Waits for a while, or until the call ends if it is in progress in this process. */
  async #pause({ name }: KeyedCall, delayMs: number, signal: AbortSignal): Promise<void> {
    const over = new AbortController();
    const stop = () => over.abort();
    this.#running.get(name)?.end.then(stop, stop);
    await sleep(this.#options.clock, delayMs, AbortSignal.any([signal, over.signal])).catch(() => {});
    if (signal.aborted) throw new RpcError('cancelled', 'The call was cancelled', { cause: signal.reason });
  }

  #open(reason: string, message: string): RpcError {
    this.#counts.unknown += 1;
    return new RpcError('ambiguous_outcome', message, { data: { reason } });
  }

  async #close(): Promise<void> {
    this.#cancelBeat?.();
    this.#cancelBeat = undefined;
    await this.#makeChanges().catch(() => {});
    // Whoever looks at a call still in progress here has to believe in it as long as may be.
    if (this.#running.size === 0 && this.#leaseUntil > 0) await this.#options.store.delete(this.#lease(this.#owner)).catch(() => {});
  }

  #key(name: string): string {
    return `${this.#prefix}:${name}`;
  }

  #lease(owner: string): string {
    return `${this.#prefix}:owner:${owner}`;
  }
}

function recordOfFailure(claim: Claim, error: unknown, aborted: boolean, maxBytes: number): IdempotencyRecord {
  const { arguments: digest, round } = claim.begun;
  const end = endOf(error, aborted);
  if (end === 'refused') return claim.before;
  if (end === 'unknown') return { state: 'unknown', arguments: digest, round };
  return { state: 'done', arguments: digest, round, outcome: outcomeOfError(error, maxBytes) };
}

/** The store did not answer. */
class StoreFailure extends Error {}

async function reached<T>(answer: Promise<T>, onFailure: () => void = () => {}): Promise<T> {
  try {
    return await answer;
  } catch (cause) {
    onFailure();
    throw new StoreFailure('The state store did not answer', { cause });
  }
}
