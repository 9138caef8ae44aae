import type { ServiceNode } from '@mcp-blocks/core';
import { type CredentialsProvider, mint } from './upstream/connection-pool.js';
import type { Connect, Upstream } from './upstream/upstream.js';

/** What {@link HealthProbe} works with. */
export interface HealthProbeOptions {
  /** The node as discovery describes it now. */
  readonly node: () => ServiceNode;
  readonly connect: Connect;
  readonly credentials: CredentialsProvider | undefined;
}

/** Checks a node over a connection of its own, so that a check neither waits for callers nor keeps their connections open. */
export class HealthProbe {
  readonly #options: HealthProbeOptions;
  #upstream: Promise<Upstream> | undefined;

  constructor(options: HealthProbeOptions) {
    this.#options = options;
  }

  /** Resolves when the node answers. */
  async check(signal: AbortSignal): Promise<void> {
    const { node, connect, credentials } = this.#options;
    const known = await this.#upstream;
    // A connection kept from before may have broken, or its credentials may be over, with the node in health.
    if (
      known !== undefined &&
      (await known.ping(signal).then(
        () => true,
        () => false,
      ))
    )
      return;
    this.#drop();
    signal.throwIfAborted();
    const own = await mint(credentials, node(), undefined);
    // Opening asks the node who it is, which is a check.
    this.#upstream = connect(node(), { headers: own?.headers ?? {}, signal });
    try {
      await this.#upstream;
    } catch (error) {
      this.#drop();
      throw error;
    }
  }

  async close(): Promise<void> {
    const upstream = this.#upstream;
    this.#upstream = undefined;
    await upstream?.then((opened) => opened.close()).catch(() => {});
  }

  #drop(): void {
    void this.close();
  }
}
