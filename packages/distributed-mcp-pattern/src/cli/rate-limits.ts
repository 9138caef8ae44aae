import { type AuditSink, type Clock, ConfigurationError } from '@mcp-blocks/core';
import { type LimitStore, type RateLimit, RateLimitedRPC } from '@mcp-blocks/rate-limited-rpc';
import type { GatewayFile } from './config/schema.js';
import { at } from './configuration-path.js';
import { InUse } from './in-use.js';
import { errorText, type Log } from './log.js';

interface LimitEntries {
  readonly rateLimits?: GatewayFile['rateLimits'];
  readonly state?: GatewayFile['state'];
}

/** What {@link rateLimiterOf} works with. */
export interface RateLimiterParts {
  readonly audit: AuditSink | undefined;
  readonly log: Log;
  readonly clock: Clock;
}

/** Where limits are counted. @throws ConfigurationError naming the option of the file. */
export function limitStoreOf({ rateLimits, state }: LimitEntries): 'memory' | 'redis' {
  // The limiter finds its server itself, and knows no Sentinels.
  const isOneRedis = state?.provider === 'redis' && state.sentinels === undefined;
  const store = rateLimits?.store ?? (isOneRedis ? 'redis' : 'memory');
  if (store === 'redis' && !isOneRedis) {
    throw new ConfigurationError('rateLimits.store', 'redis needs state.provider redis without sentinels, whose endpoint it uses');
  }
  if (store === 'memory' && rateLimits?.insurance !== undefined) {
    throw new ConfigurationError('rateLimits.insurance', 'has an effect only with store redis');
  }
  return store;
}

/** The limiter of a configuration. @throws ConfigurationError naming the option of the file. */
export async function rateLimiterOf(
  { rateLimits, state }: LimitEntries,
  { audit, log, clock }: RateLimiterParts,
): Promise<InUse<RateLimitedRPC> | undefined> {
  if (rateLimits === undefined) return undefined;
  const store = limitStoreOf({ rateLimits, state });
  const { store: _store, insurance, limits, ...rest } = rateLimits;
  let shared: LimitStore | undefined;
  if (store === 'redis') {
    const { redisLimits } = await import('@mcp-blocks/rate-limited-rpc/redis');
    const onError = (error: Error) => log.repeated('the store of the rate limits has a problem', {}, { error: errorText(error) });
    shared = at('state', () =>
      redisLimits({ url: state?.endpoints[0] as string, onError, ...(insurance === undefined ? {} : { insurance }) }),
    );
  }
  const limiter = at('rateLimits', () => {
    return new RateLimitedRPC({
      ...rest,
      // What a limit may hold together is checked by the limiter.
      limits: limits as unknown as RateLimit[],
      ...(audit === undefined ? {} : { audit }),
      ...(shared === undefined ? {} : { store: shared }),
      clock,
    });
  });
  return new InUse(limiter, () => limiter.close());
}
