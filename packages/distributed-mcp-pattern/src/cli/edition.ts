import { type Clock, ConfigurationError, canonicalJson, type JsonValue, type StateStore } from '@mcp-blocks/core';
import type { RateLimitedRPC } from '@mcp-blocks/rate-limited-rpc';
import { type Callers, callersOf } from './authentication.js';
import type { GatewayFile } from './config/schema.js';
import type { InUse } from './in-use.js';
import type { Log } from './log.js';
import { type RateLimiterParts, rateLimiterOf } from './rate-limits.js';
import { RunningService } from './running-service.js';

/** What an {@link Edition} is made with. */
export interface EditionParts extends RateLimiterParts {
  readonly log: Log;
  readonly clock: Clock;
  /** What the clusters share with those of other processes. */
  readonly state: StateStore | undefined;
}

/** What has changed from one edition to the next. */
export interface EditionChanges {
  readonly added: readonly string[];
  readonly removed: readonly string[];
  readonly changed: readonly string[];
}

/** What one configuration makes of everything that may change while the gateway runs. Unchanged parts are those of the edition before. */
export class Edition {
  readonly file: GatewayFile;
  readonly callers: Callers;
  readonly limiter: InUse<RateLimitedRPC> | undefined;
  /** In order of precedence. */
  readonly services: ReadonlyMap<string, RunningService>;

  private constructor(
    file: GatewayFile,
    callers: Callers,
    limiter: InUse<RateLimitedRPC> | undefined,
    services: ReadonlyMap<string, RunningService>,
  ) {
    this.file = file;
    this.callers = callers;
    this.limiter = limiter;
    this.services = services;
  }

  /** @throws ConfigurationError naming the option of the file; nothing is left open then. */
  static async make(file: GatewayFile, parts: EditionParts, before?: Edition): Promise<Edition> {
    const callers = callersOf(file.authentication);
    const resource = file.authentication.oauth?.resource;
    if (resource !== undefined && callers.verifier?.audiences.includes(resource) !== true) {
      throw new ConfigurationError('authentication.oauth', `expected '${resource}' among the audiences of its tokens`);
    }
    if (Object.keys(file.services).length === 0) throw new ConfigurationError('services', 'expected at least one service');
    const services = new Map<string, RunningService>();
    const made: RunningService[] = [];
    try {
      for (const [name, entry] of Object.entries(file.services)) {
        const kept = same(before?.file.services[name], entry) ? before?.services.get(name) : undefined;
        const service = kept ?? new RunningService(name, entry, parts);
        if (kept === undefined) made.push(service);
        services.set(name, service);
      }
      const keep = before !== undefined && same(before.file.rateLimits, file.rateLimits);
      return new Edition(file, callers, keep ? before.limiter : await rateLimiterOf(file, parts), services);
    } catch (error) {
      await Promise.all(made.map((service) => service.close()));
      throw error;
    }
  }

  changesSince(before: Edition): EditionChanges {
    return {
      added: [...this.services.keys()].filter((name) => !before.services.has(name)),
      removed: [...before.services.keys()].filter((name) => !this.services.has(name)),
      changed: [...this.services].flatMap(([name, service]) => {
        const other = before.services.get(name);
        return other === undefined || other === service ? [] : [name];
      }),
    };
  }

  /** Starts what the edition before has not started. Services that take longer than `withinMs` come later. */
  async start(withinMs: number): Promise<void> {
    await Promise.all([...this.services.values()].map((service) => service.start(withinMs)));
  }

  /** Ends what `next` does not go on with, each part when its last call has ended. */
  async retire(next: Edition): Promise<void> {
    const kept = new Set(next.services.values());
    await Promise.all([
      ...[...this.services.values()].filter((service) => !kept.has(service)).map((service) => service.retire()),
      this.limiter === next.limiter ? undefined : this.limiter?.retire(),
    ]);
  }

  /** Ends everything now. Idempotent. */
  async close(): Promise<void> {
    await Promise.all([...[...this.services.values()].map((service) => service.close()), this.limiter?.close()]);
  }
}

function same(before: unknown, after: unknown): boolean {
  if (before === undefined || after === undefined) return before === after;
  return canonicalJson(before as JsonValue) === canonicalJson(after as JsonValue);
}
