import type { CancelTimer, Clock } from '@mcp-blocks/core';
import type { EtcdClient } from './etcd-client.js';

/** What {@link EtcdRegistration} works with. */
export interface EtcdRegistrationOptions {
  readonly client: EtcdClient;
  readonly key: string;
  readonly value: string;
  readonly leaseTtlMs: number;
  readonly clock: Clock;
}

/** Keeps one entry alive: renews its lease three times per lifetime, and enters it again if the lease was lost. */
export class EtcdRegistration {
  readonly #options: EtcdRegistrationOptions;
  readonly #abort = new AbortController();
  #lease: string | undefined;
  #cancelRenewal: CancelTimer | undefined;
  #renewing: Promise<void> = Promise.resolve();

  constructor(options: EtcdRegistrationOptions) {
    this.#options = options;
  }

  /** @throws RpcError `unavailable` when etcd does not answer. */
  async enter(): Promise<void> {
    const { client, key, value, leaseTtlMs } = this.#options;
    const lease = await client.grantLease(Math.ceil(leaseTtlMs / 1000));
    await client.put(key, value, lease.id);
    this.#lease = lease.id;
    this.#schedule(lease.ttlMs / 3);
  }

  /** Takes the entry out at once; if etcd cannot be told, it goes with its lease. */
  async leave(): Promise<void> {
    this.#cancelRenewal?.();
    this.#abort.abort();
    await this.#renewing;
    const lease = this.#lease;
    this.#lease = undefined;
    if (lease !== undefined) await this.#options.client.revokeLease(lease).catch(() => {});
  }

  #schedule(delayMs: number): void {
    if (this.#abort.signal.aborted) return;
    this.#cancelRenewal = this.#options.clock.setTimeout(() => {
      this.#renewing = this.#renew();
    }, delayMs);
  }

  async #renew(): Promise<void> {
    const { client, leaseTtlMs } = this.#options;
    try {
      const alive = this.#lease !== undefined && (await client.keepLeaseAlive(this.#lease, this.#abort.signal));
      if (this.#abort.signal.aborted) return;
      if (!alive) {
        this.#lease = undefined;
        return await this.enter();
      }
    } catch {
      // etcd does not answer; the next renewal tries again, and enters anew if the lease is gone by then.
    }
    this.#schedule(leaseTtlMs / 3);
  }
}
