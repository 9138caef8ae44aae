import type { ConnectionOptions } from 'node:tls';
import { ConfigurationError } from '@mcp-blocks/core';
import type { Client } from 'pg';
import { checkName } from './postgres-schema.js';

/** Where a trail in PostgreSQL is. */
export interface PostgresOptions {
  /** `postgres://user:password@host:5432/database`; what it leaves out comes from the environment (`PGPASSWORD`, …). */
  readonly url: string;
  /** The schema that holds the tables. Default: `mcp_audit`. */
  readonly schema?: string;
  /** TLS; `true` verifies the server with the system's authorities. Default: as the URL says. */
  readonly tls?: true | ConnectionOptions;
  /** Longest that connecting, or one statement, may take, in milliseconds; a positive integer. Default: 10,000. */
  readonly timeoutMs?: number;
}

/** @throws ConfigurationError when an option is wrong. */
export function checkPostgresOptions({ url, schema = 'mcp_audit', timeoutMs = 10_000 }: PostgresOptions): void {
  // The URL is not repeated: it may hold a password.
  if (typeof url !== 'string' || !/^postgres(ql)?:\/\//.test(url)) throw new ConfigurationError('url', 'expected a postgres:// URL');
  checkName('schema', schema);
  if (!Number.isSafeInteger(timeoutMs) || timeoutMs < 1) {
    throw new ConfigurationError('timeoutMs', `expected a positive integer, got ${timeoutMs}`);
  }
}

/** Connects; the caller ends the client. A connection that breaks later shows in the next query. */
export async function connectPostgres({ url, tls, timeoutMs = 10_000 }: PostgresOptions): Promise<Client> {
  const { default: pg } = await import('pg');
  const client = new pg.Client({
    connectionString: url,
    ...(tls === undefined ? {} : { ssl: tls }),
    connectionTimeoutMillis: timeoutMs,
    query_timeout: timeoutMs,
    application_name: 'mcp-blocks-audit',
  });
  client.on('error', () => {});
  try {
    await client.connect();
    return client;
  } catch (error) {
    await client.end().catch(() => {});
    throw error;
  }
}
