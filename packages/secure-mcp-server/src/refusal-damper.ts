import type { AuditEvent, CancelTimer, Clock } from '@mcp-blocks/core';
import { plainAddress, siteOf } from './address-list.js';
import { integerOption } from './options.js';

/**
 * How many records refusals of unknown callers may make: failed logins, refused requests and connections. What
 * is beyond is counted in one record.
 */
export interface RefusalAuditOptions {
  /** Records of one kind for one address (of IPv6, one /64 network) within `windowMs`. Default: 20. */
  readonly maxPerAddress?: number;
  /** Milliseconds after which what was beyond is recorded as one. From 1000 to an hour. Default: 60 000. */
  readonly windowMs?: number;
  /** Addresses and kinds counted apart at a time; all others together make the records of one more. Default: 1000. */
  readonly maxAddresses?: number;
}

/** The refusals of one kind and one address within a window. */
interface Tally {
  readonly endsAt: number;
  recorded: number;
  /** Those that were not recorded: how many, the last of them, and how many by reason. */
  suppressed: number;
  last: AuditEvent | undefined;
  readonly reasons: Map<string, number>;
}

/** Reasons told apart in one record; they can depend on what the caller sent. */
const MAX_REASONS = 10;
const HOUR_MS = 3_600_000;
const OTHERS = 'others';

/** Passes audit events on, but of refusals of callers whom nobody knows only so many: a flood must not fill the disk. */
export class RefusalDamper {
  readonly #record: (event: AuditEvent) => void;
  readonly #clock: Clock;
  readonly #maxPerAddress: number;
  readonly #windowMs: number;
  readonly #maxAddresses: number;
  /** Windows are equally long, so the first is the first to end. */
  readonly #tallies = new Map<string, Tally>();
  #cancelTimer: CancelTimer | undefined;

  /** @throws ConfigurationError for a value out of range. */
  constructor(record: (event: AuditEvent) => void, clock: Clock, options: RefusalAuditOptions = {}) {
    this.#record = record;
    this.#clock = clock;
    this.#maxPerAddress = integerOption('refusalAudit.maxPerAddress', options.maxPerAddress, { fallback: 20 });
    this.#windowMs = integerOption('refusalAudit.windowMs', options.windowMs, { fallback: 60_000, min: 1000, max: HOUR_MS });
    this.#maxAddresses = integerOption('refusalAudit.maxAddresses', options.maxAddresses, { fallback: 1000 });
  }

  record(event: AuditEvent): void {
    if (event.outcome !== 'denied' || event.actor !== '-') {
      this.#record(event);
      return;
    }
    this.#endWindows(this.#clock.now());
    const tally = this.#tallyOf(event);
    if (tally.recorded < this.#maxPerAddress) {
      tally.recorded += 1;
      this.#record(event);
      return;
    }
    const named = event.reason ?? '-';
    const reason = tally.reasons.has(named) || tally.reasons.size < MAX_REASONS ? named : OTHERS;
    tally.reasons.set(reason, (tally.reasons.get(reason) ?? 0) + 1);
    tally.suppressed += 1;
    tally.last = event;
  }

  /** Records what was only counted so far, whatever is left of its window. */
  flush(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    this.#endWindows(Number.POSITIVE_INFINITY);
  }

  #tallyOf({ type, transport = '-', remoteAddress }: AuditEvent): Tally {
    const address = plainAddress(remoteAddress);
    const named = `${type} ${transport} ${address === undefined ? '-' : siteOf(address)}`;
    const key = this.#tallies.has(named) || this.#tallies.size < this.#maxAddresses ? named : `${type} ${OTHERS}`;
    let tally = this.#tallies.get(key);
    if (tally === undefined) {
      tally = { endsAt: this.#clock.now() + this.#windowMs, recorded: 0, suppressed: 0, last: undefined, reasons: new Map() };
      this.#tallies.set(key, tally);
      this.#schedule();
    }
    return tally;
  }

  #schedule(): void {
    const [first] = this.#tallies.values();
    if (first === undefined || this.#cancelTimer !== undefined) return;
    const end = () => {
      this.#cancelTimer = undefined;
      this.#endWindows(this.#clock.now());
      this.#schedule();
    };
    this.#cancelTimer = this.#clock.setTimeout(end, Math.max(1, first.endsAt - this.#clock.now()));
  }

  #endWindows(now: number): void {
    for (const [key, { endsAt, suppressed, last, reasons }] of this.#tallies) {
      if (endsAt > now) return;
      this.#tallies.delete(key);
      if (last === undefined) continue;
      const { remoteAddress, transport, ...refusal } = last;
      // Others have more than one address between them.
      const from = key.endsWith(` ${OTHERS}`) ? {} : { ...(transport && { transport }), ...(remoteAddress && { remoteAddress }) };
      this.#record({ ...refusal, ...from, details: { suppressed, reasons: Object.fromEntries(reasons) } });
    }
  }
}
