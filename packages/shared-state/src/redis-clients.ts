import { ConfigurationError } from '@mcp-blocks/core';
import { Cluster, Redis } from 'ioredis';

/** A client for one Redis, found by its address or by Sentinels, or for a Redis Cluster. */
export type RedisClient = Redis | Cluster;

/** What is not sent at once fails at once. */
const AT_ONCE = { enableOfflineQueue: false } as const;

/** Where Redis is: exactly one of `url`, `clusterUrls` and `client`. */
export interface RedisPlace {
  /**
   * `redis://` or `rediss://` (TLS), with user, password and database number as needed. With `sentinels`, the
   * host is the name they know the primary by: `redis://:password@mymaster/0`.
   */
  readonly url?: string;
  /**
   * The Sentinels that know which server is the primary: `redis://` or `rediss://` URLs, with their own user
   * and password as needed, and the same for all. A server that steps down is left for the one they name.
   */
  readonly sentinels?: readonly string[];
  /** Nodes of a Redis Cluster to begin with, the rest are found: URLs as above with the same user and password. */
  readonly clusterUrls?: readonly string[];
  /**
   * A client of yours. The store leaves it open; for messages it makes a duplicate of its own. Time limits and
   * reconnecting are then as you set them; give it a `commandTimeout`, and a Cluster `retryDelayOnFailover: 0`,
   * or it sends commands again that may have run.
   */
  readonly client?: RedisClient;
}

/** @throws ConfigurationError when it is not clear which, or a URL is none. */
export function redisClient({ url, sentinels, clusterUrls, client }: RedisPlace, timeoutMs: number): RedisClient {
  if ([url, clusterUrls, client].filter((place) => place !== undefined).length !== 1) {
    throw new ConfigurationError('url', "expected exactly one of 'url', 'clusterUrls' and 'client'");
  }
  if (sentinels !== undefined && url === undefined) {
    throw new ConfigurationError('url', "expected with 'sentinels': a URL whose host is the name of the primary");
  }
  if (client !== undefined) {
    if (client.options.keyPrefix) throw new ConfigurationError('client', "expected a client without keyPrefix; use the store's");
    return client;
  }
  if (clusterUrls !== undefined) return cluster(addresses('clusterUrls', clusterUrls), timeoutMs);
  const server = address('url', url);
  if (sentinels === undefined)
    return new Redis(url as string, { ...connection(timeoutMs), ...AT_ONCE, retryStrategy: pause, lazyConnect: true });
  return sentinel(server, addresses('sentinels', sentinels), timeoutMs);
}

/** Another client for the same servers, for a subscriber. */
export function duplicate(client: RedisClient): RedisClient {
  // By itself it would subscribe anew and let nobody hear when that fails, which ends the process.
  if (client instanceof Redis) return client.duplicate({ ...AT_ONCE, lazyConnect: true, autoResubscribe: false });
  return client.duplicate([], { lazyConnect: true });
}

/** What was sent is not sent again. */
function connection(timeoutMs: number) {
  return {
    autoResendUnfulfilledCommands: false,
    connectTimeout: timeoutMs,
    commandTimeout: timeoutMs,
    // A connection that answers nothing is given up, and made anew.
    socketTimeout: timeoutMs,
  };
}

function sentinel(server: URL, sentinels: readonly URL[], timeoutMs: number): Redis {
  const [first] = sentinels as [URL];
  const { username: sentinelUsername, password: sentinelPassword } = credentials(first);
  return new Redis({
    ...connection(timeoutMs),
    ...AT_ONCE,
    ...credentials(server),
    ...(server.protocol === 'rediss:' ? { tls: {} } : {}),
    ...(server.pathname.length > 1 ? { db: Number(server.pathname.slice(1)) } : {}),
    name: decodeURIComponent(server.hostname),
    sentinels: sentinels.map((each) => ({ host: bare(each.hostname), port: Number(each.port || 26_379) })),
    ...(sentinelUsername === undefined ? {} : { sentinelUsername }),
    ...(sentinelPassword === undefined ? {} : { sentinelPassword }),
    ...(first.protocol === 'rediss:' ? { enableTLSForSentinelMode: true, sentinelTLS: {} } : {}),
    sentinelCommandTimeout: timeoutMs,
    sentinelRetryStrategy: pause,
    retryStrategy: pause,
    // No failoverDetector: one that speaks up while the client connects ends it for good. Sentinels cut a server's clients
    // off when they make it a replica.
    // A primary that has become a replica: the command has not run, and the next one asks the Sentinels again.
    reconnectOnError: ({ message }) => message.startsWith('READONLY'),
    lazyConnect: true,
  });
}

function cluster(nodes: readonly URL[], timeoutMs: number): Cluster {
  const [first] = nodes as [URL];
  const options = {
    clusterRetryStrategy: pause,
    slotsRefreshTimeout: timeoutMs,
    // Else a command that got no answer would be sent again, and one that was refused much later.
    retryDelayOnFailover: 0,
    retryDelayOnClusterDown: 0,
    redisOptions: { ...connection(timeoutMs), ...credentials(first), ...(first.protocol === 'rediss:' ? { tls: {} } : {}) },
    lazyConnect: true,
  };
  return new Cluster(
    nodes.map((each) => ({ host: bare(each.hostname), port: Number(each.port || 6379) })),
    options,
  );
}

function pause(attempt: number): number {
  return Math.random() * Math.min(500, 25 * 2 ** attempt);
}

function addresses(option: string, urls: readonly string[]): URL[] {
  if (urls.length === 0) throw new ConfigurationError(option, 'expected at least one URL');
  const parsed = urls.map((url, index) => address(`${option}[${index}]`, url, /^\/?$/));
  const [first] = parsed as [URL];
  const other = parsed.findIndex(
    ({ protocol, username, password }) => protocol !== first.protocol || username !== first.username || password !== first.password,
  );
  if (other >= 0) throw new ConfigurationError(`${option}[${other}]`, 'expected the scheme, user and password of the first');
  return parsed;
}

function address(option: string, url: string | undefined, path = /^\/?\d{0,5}$/): URL {
  const parsed = typeof url === 'string' && URL.canParse(url) ? new URL(url) : undefined;
  // The URL may hold a password, so the message does not.
  if (parsed === undefined || !/^rediss?:$/.test(parsed.protocol) || parsed.hostname === '') {
    throw new ConfigurationError(option, 'expected a redis:// or rediss:// URL');
  }
  if (!path.test(parsed.pathname)) {
    throw new ConfigurationError(option, `expected ${option === 'url' ? 'nothing but a database number as' : 'no'} path`);
  }
  return parsed;
}

function credentials({ username, password }: URL): { username?: string; password?: string } {
  return {
    ...(username === '' ? {} : { username: decodeURIComponent(username) }),
    ...(password === '' ? {} : { password: decodeURIComponent(password) }),
  };
}

/** Without the brackets of IPv6. */
function bare(hostname: string): string {
  return hostname.replace(/^\[|\]$/g, '');
}
