import { DatabaseSync } from 'node:sqlite';
import { AuthenticatedToolRegistry } from '@mcp-blocks/authenticated-tool-registry';
import { type AuditSink, RpcError } from '@mcp-blocks/core';
import { z } from 'zod';
import { ROLE_HIERARCHY } from '../identities.js';
import { SqlProcess } from './sql-process.js';

/** Options of {@link databaseServer}. */
export interface DatabaseOptions {
  /** The SQLite file; `seedDatabase` makes it. */
  readonly file: string;
  readonly audit: AuditSink;
}

const STATEMENT_TIMEOUT_MS = 2_000;
const parameters = z
  .array(z.union([z.string(), z.number(), z.null()]))
  .max(50)
  .default([])
  .describe('Values for the ? placeholders, in order');

/** Creates the orders database, with a handful of orders. */
export function seedDatabase(file: string): void {
  const database = new DatabaseSync(file);
  database.exec(`
    PRAGMA journal_mode = WAL;
    CREATE TABLE IF NOT EXISTS orders (
      id TEXT PRIMARY KEY,
      customer TEXT NOT NULL,
      city TEXT NOT NULL,
      amount_cents INTEGER NOT NULL,
      status TEXT NOT NULL
    );
    INSERT OR IGNORE INTO orders VALUES
      ('1001', 'Nunes Ceramics', 'Lisbon', 48900, 'paid'),
      ('1002', 'Kaya Fisheries', 'Reykjavik', 129950, 'paid'),
      ('1003', 'Brandt & Söhne', 'Berlin', 7425, 'shipped'),
      ('1004', 'Tan Hawker Supply', 'Singapore', 31200, 'paid'),
      ('1005', 'Golden Gate Books', 'San Francisco', 18999, 'returned');
  `);
  database.close();
}

/**
 * SQL over the orders. Analysts query through a connection that SQLite itself opens read-only, so no
 * trick of syntax can write; only admins reach the connection that can. Statements run in a process of
 * their own, so that none of them holds up the server.
 */
export function databaseServer({ file, audit }: DatabaseOptions): AuthenticatedToolRegistry & Disposable {
  const database = new SqlProcess(file, STATEMENT_TIMEOUT_MS);
  const registry = new AuthenticatedToolRegistry({ name: 'database', version: '1.0.0', audit, roles: ROLE_HIERARCHY });

  registry.tool(
    'query_orders',
    {
      title: 'Query orders',
      description: 'Runs one SELECT over the table orders(id, customer, city, amount_cents, status). Use ? for values.',
      input: z.object({ sql: z.string().min(1).max(4_000), parameters }),
      output: z.object({ rows: z.array(z.record(z.string(), z.unknown())), truncated: z.boolean() }),
      annotations: { readOnlyHint: true },
      access: { roles: ['analyst'] },
    },
    async ({ sql, parameters: values }) => ({ structuredContent: await database.query(sql, values) }),
  );

  registry.tool(
    'change_orders',
    {
      title: 'Change orders',
      description: 'Runs one INSERT, UPDATE or DELETE over the table orders. Use ? for values.',
      input: z.object({ sql: z.string().min(1).max(4_000), parameters }),
      annotations: { readOnlyHint: false, destructiveHint: true },
      access: { roles: ['admin'] },
    },
    async ({ sql, parameters: values }) => {
      const changes = await database.change(sql, values);
      registry.resourceUpdated('db://orders');
      return `${changes} rows changed`;
    },
  );

  registry.resource(
    'db://orders',
    {
      name: 'orders',
      title: 'All orders',
      description: 'A database as a resource',
      mimeType: 'application/json',
      access: { roles: ['analyst'] },
    },
    async () => {
      const { rows } = await database.query('SELECT * FROM orders ORDER BY id', []);
      return { text: JSON.stringify(rows), mimeType: 'application/json' };
    },
  );

  registry.resourceTemplate(
    'db://orders/{id}',
    { name: 'order', title: 'One order', mimeType: 'application/json', access: { roles: ['analyst'] } },
    async ({ id }) => {
      const { rows } = await database.query('SELECT * FROM orders WHERE id = ?', [String(id)]);
      const [order] = rows;
      if (order === undefined) throw new RpcError('resource_not_found', `There is no order ${String(id)}`);
      return { text: JSON.stringify(order), mimeType: 'application/json' };
    },
  );

  registry.prompt(
    'order_summary',
    {
      title: 'Order summary',
      description: 'Asks for a summary of the orders in one state.',
      arguments: z.object({ status: z.enum(['paid', 'shipped', 'returned']) }),
      access: { roles: ['analyst'] },
    },
    async ({ status }) => [
      {
        role: 'user',
        content: {
          type: 'text',
          text: `Query the orders with status '${status}' and summarise them: how many, worth how much, going where.`,
        },
      },
    ],
  );

  return Object.assign(registry, { [Symbol.dispose]: () => database.close() });
}
