import type { CancelTimer, Clock } from '@mcp-blocks/core';

/** Why a node was ejected. */
export type EjectionReason = 'consecutive-5xx' | 'consecutive-gateway-failures' | 'success-rate';

/** Told when a node is ejected and when it is back. */
export type EjectionChange = { readonly nodeId: string } & (
  | {
      readonly ejected: true;
      readonly reason: EjectionReason;
      /** How many times in a row, with few rests in between. The time grows with it. */
      readonly count: number;
      readonly durationMs: number;
    }
  | {
      readonly ejected: false;
      /** `time`: it is over; `check`: a health check passed; `limit`: nodes have left, and as many may not be ejected. */
      readonly reason: 'time' | 'check' | 'limit';
    }
);

/** Options of {@link OutlierDetector}; times in milliseconds. */
export interface OutlierDetectorOptions {
  /** Server failures in a row, gateway failures included, that eject a node. */
  readonly consecutive5xx: number;
  /** Gateway failures (502, 503, 504, no answer, no connection) in a row that eject a node. */
  readonly consecutiveGatewayFailures: number;
  /** How often success rates are compared. */
  readonly intervalMs: number;
  /** The time of a first ejection; that of the k-th is k times as long. */
  readonly baseEjectionMs: number;
  readonly maxEjectionMs: number;
  /** Most nodes ejected at a time, as a share of all, 0 to 1; but always one. */
  readonly maxEjectedShare: number;
  /** Success rates are compared when as many nodes … */
  readonly successRateMinNodes: number;
  /** … had as many requests in the interval. */
  readonly successRateMinRequests: number;
  /** A node is ejected when its rate is below mean − factor · standard deviation. */
  readonly successRateStdevFactor: number;
  readonly clock: Clock;
  /** Told before it is seen in {@link OutlierWatch.ejected} by anybody else. */
  readonly onChange: (change: EjectionChange) => void;
}

/** What a node said, or that it did not. */
export type OutlierOutcome = 'success' | 'server-error' | 'gateway-failure';

/** One node under watch. */
export interface OutlierWatch {
  readonly ejected: boolean;
  /** Epoch milliseconds; while ejected. */
  readonly ejectedUntil: number | undefined;
  /** All its ejections so far. */
  readonly ejections: number;
  record(outcome: OutlierOutcome): void;
  /** A health check has passed: it is not ejected any more. */
  checkPassed(): void;
  /** The node is gone. */
  end(): void;
}

interface Host {
  readonly id: string;
  failures5xx: number;
  gatewayFailures: number;
  requests: number;
  successes: number;
  /** The next ejection lasts one time more than this. */
  multiplier: number;
  ejections: number;
  ejectedUntil: number | undefined;
  cancelReturn: CancelTimer | undefined;
}

/** Takes nodes out for a while that fail where others do not, by the rules and with the defaults of Envoy's outlier detection. */
export class OutlierDetector {
  readonly #options: OutlierDetectorOptions;
  readonly #hosts = new Set<Host>();
  #cancelInterval: CancelTimer | undefined;
  #closed = false;

  constructor(options: OutlierDetectorOptions) {
    this.#options = options;
  }

  get ejectedCount(): number {
    let count = 0;
    for (const host of this.#hosts) if (host.ejectedUntil !== undefined) count += 1;
    return count;
  }

  /** Takes a node under watch. */
  watch(id: string): OutlierWatch {
    const host: Host = {
      id,
      failures5xx: 0,
      gatewayFailures: 0,
      requests: 0,
      successes: 0,
      multiplier: 0,
      ejections: 0,
      ejectedUntil: undefined,
      cancelReturn: undefined,
    };
    this.#hosts.add(host);
    if (this.#cancelInterval === undefined) this.#schedule();
    return {
      get ejected() {
        return host.ejectedUntil !== undefined;
      },
      get ejectedUntil() {
        return host.ejectedUntil;
      },
      get ejections() {
        return host.ejections;
      },
      record: (outcome) => this.#record(host, outcome),
      checkPassed: () => this.#return(host, 'check'),
      end: () => this.#end(host),
    };
  }

  /** Ends its timers. */
  close(): void {
    this.#closed = true;
    this.#cancelInterval?.();
    for (const host of this.#hosts) host.cancelReturn?.();
  }

  #record(host: Host, outcome: OutlierOutcome): void {
    // Requests sent before the ejection say nothing about after it.
    if (host.ejectedUntil !== undefined) return;
    host.requests += 1;
    if (outcome === 'success') {
      host.successes += 1;
      host.failures5xx = 0;
      host.gatewayFailures = 0;
      return;
    }
    host.failures5xx += 1;
    host.gatewayFailures = outcome === 'gateway-failure' ? host.gatewayFailures + 1 : 0;
    const { consecutive5xx, consecutiveGatewayFailures } = this.#options;
    if (host.gatewayFailures >= consecutiveGatewayFailures) this.#eject(host, 'consecutive-gateway-failures');
    else if (host.failures5xx >= consecutive5xx) this.#eject(host, 'consecutive-5xx');
  }

  #eject(host: Host, reason: EjectionReason): void {
    // At the limit it stays, and the count goes on: as soon as there is room again, the next failure ejects it.
    if (this.#closed || !this.#hosts.has(host) || this.ejectedCount >= this.#limit()) return;
    const { clock, baseEjectionMs, maxEjectionMs, onChange } = this.#options;
    host.multiplier += 1;
    host.ejections += 1;
    const durationMs = Math.min(baseEjectionMs * host.multiplier, maxEjectionMs);
    host.ejectedUntil = clock.now() + durationMs;
    host.cancelReturn = clock.setTimeout(() => this.#return(host, 'time'), durationMs);
    onChange({ nodeId: host.id, ejected: true, reason, count: host.multiplier, durationMs });
  }

  #return(host: Host, reason: 'time' | 'check' | 'limit'): void {
    if (host.ejectedUntil === undefined || this.#closed) return;
    host.cancelReturn?.();
    Object.assign(host, { ejectedUntil: undefined, failures5xx: 0, gatewayFailures: 0, requests: 0, successes: 0 });
    this.#options.onChange({ nodeId: host.id, ejected: false, reason });
  }

  #end(host: Host): void {
    host.cancelReturn?.();
    this.#hosts.delete(host);
    while (this.ejectedCount > this.#limit()) {
      const ejected = [...this.#hosts].filter(({ ejectedUntil }) => ejectedUntil !== undefined);
      // Who has the least time left comes back first.
      const [first] = ejected.sort((a, b) => (a.ejectedUntil as number) - (b.ejectedUntil as number));
      if (first === undefined || this.#closed) return;
      this.#return(first, 'limit');
    }
  }

  #limit(): number {
    return Math.max(1, Math.floor(this.#hosts.size * this.#options.maxEjectedShare));
  }

  #schedule(): void {
    this.#cancelInterval = this.#options.clock.setTimeout(() => {
      this.#compare();
      if (!this.#closed) this.#schedule();
    }, this.#options.intervalMs);
  }

  /** The end of an interval: ejects by success rate, and forgives who is in. */
  #compare(): void {
    const { successRateMinNodes, successRateMinRequests, successRateStdevFactor } = this.#options;
    const here = [...this.#hosts].filter(({ ejectedUntil }) => ejectedUntil === undefined);
    for (const host of here) host.multiplier = Math.max(0, host.multiplier - 1);
    const busy = here.filter(({ requests }) => requests >= successRateMinRequests);
    const rates = new Map(busy.map((host) => [host, host.successes / host.requests]));
    for (const host of this.#hosts) Object.assign(host, { requests: 0, successes: 0 });
    if (busy.length < successRateMinNodes) return;
    const mean = sum(rates.values()) / rates.size;
    const stdev = Math.sqrt(sum([...rates.values()].map((rate) => (rate - mean) ** 2)) / rates.size);
    const least = mean - successRateStdevFactor * stdev;
    // The worst first: there may not be room for all.
    for (const [host, rate] of [...rates].sort(([, a], [, b]) => a - b)) if (rate < least) this.#eject(host, 'success-rate');
  }
}

function sum(values: Iterable<number>): number {
  let total = 0;
  for (const value of values) total += value;
  return total;
}
