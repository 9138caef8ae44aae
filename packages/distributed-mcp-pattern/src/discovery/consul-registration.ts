import { type CancelTimer, type Clock, ConfigurationError, type ServiceNode } from '@mcp-blocks/core';
import { z } from 'zod';
import { serviceId, writeService } from './consul-service.js';
import { type RegistryHttp, RegistryRefusal } from './registry-http.js';

/** How a Consul agent learns that a node is alive. */
export type ConsulCheck =
  /** The process says so three times in this time, in milliseconds; 1,000 or more. */
  | { readonly ttlMs: number }
  /** The agent asks this URL, and 2xx means yes; `intervalMs` is 100 or more. */
  | { readonly url: string; readonly intervalMs: number };

/** What {@link ConsulRegistration} works with. */
export interface ConsulRegistrationOptions {
  readonly http: RegistryHttp;
  readonly service: string;
  readonly node: ServiceNode;
  readonly check: ConsulCheck;
  readonly forgetAfterMs: number;
  readonly clock: Clock;
}

/** Between two looks at whether the agent still has an entry that it checks itself. */
const PRESENCE_MS = 15_000;

/** Keeps one entry in an agent: says that it is alive, and enters it again when the agent has forgotten it. */
export class ConsulRegistration {
  readonly #options: ConsulRegistrationOptions;
  readonly #owner = crypto.randomUUID();
  readonly #id: string;
  readonly #abort = new AbortController();
  #cancelRenewal: CancelTimer | undefined;
  #renewing: Promise<void> = Promise.resolve();

  constructor(options: ConsulRegistrationOptions) {
    this.#options = options;
    this.#id = serviceId(options.service, options.node.id);
  }

  /** @throws ConfigurationError for a node Consul cannot hold; RpcError `unavailable` when no agent answers. */
  async enter(): Promise<void> {
    const { http, service, node, check, forgetAfterMs } = this.#options;
    const body = writeService(service, node, this.#owner);
    if (body instanceof Error) throw new ConfigurationError('node', body.message);
    const Check = {
      CheckID: `service:${this.#id}`,
      DeregisterCriticalServiceAfter: `${forgetAfterMs}ms`,
      ...('ttlMs' in check
        ? { TTL: `${check.ttlMs}ms`, Status: 'passing' }
        : { HTTP: check.url, Interval: `${check.intervalMs}ms`, Timeout: `${check.intervalMs}ms`, Status: 'passing' }),
    };
    await http.request({ method: 'PUT', path: '/v1/agent/service/register?replace-existing-checks=true', body: { ...body, Check } });
    this.#schedule();
  }

  /** Takes the entry out at once, unless another registration has replaced it; if no agent can be told, its check runs out. */
  async leave(): Promise<void> {
    this.#cancelRenewal?.();
    this.#abort.abort();
    await this.#renewing;
    try {
      if ((await this.#ownerNow()) !== this.#owner) return;
      await this.#options.http.request({ method: 'PUT', path: `/v1/agent/service/deregister/${encodeURIComponent(this.#id)}` });
    } catch {
      // No agent answers.
    }
  }

  #schedule(): void {
    if (this.#abort.signal.aborted) return;
    const { check, clock } = this.#options;
    this.#cancelRenewal = clock.setTimeout(
      () => {
        this.#renewing = this.#renew();
      },
      'ttlMs' in check ? check.ttlMs / 3 : PRESENCE_MS,
    );
  }

  async #renew(): Promise<void> {
    const { http, check } = this.#options;
    const { signal } = this.#abort;
    try {
      const owner = await this.#ownerNow();
      if (signal.aborted) return;
      if (owner === undefined) return await this.enter();
      // Somebody registered the same node again: the entry is theirs now.
      if (owner !== this.#owner) return;
      if ('ttlMs' in check) {
        await http.request({ method: 'PUT', path: `/v1/agent/check/pass/${encodeURIComponent(`service:${this.#id}`)}`, signal });
      }
    } catch {
      // No agent answers; the next renewal tries again.
    }
    this.#schedule();
  }

  /** Whose entry the agent has; `undefined` if it has none. */
  async #ownerNow(): Promise<string | undefined> {
    const path = `/v1/agent/service/${encodeURIComponent(this.#id)}`;
    try {
      const { body } = await this.#options.http.request({ path });
      return z.object({ Meta: z.record(z.string(), z.string()).nullish() }).parse(body).Meta?.['mcp-owner'] ?? '';
    } catch (error) {
      if (error instanceof RegistryRefusal && error.status === 404) return undefined;
      throw error;
    }
  }
}
