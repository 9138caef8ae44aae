import { DatabaseSync, type SQLInputValue } from 'node:sqlite';
import { AuthenticatedToolRegistry, ToolError } from '@mcp-blocks/authenticated-tool-registry';
import { type AuditSink, RpcError } from '@mcp-blocks/core';
import { z } from 'zod';
import { ROLE_HIERARCHY } from '../identities.js';

/** Options of {@link databaseServer}. */
export interface DatabaseOptions {
  /** The SQLite file; `seedDatabase` makes it. */
  readonly file: string;
  readonly audit: AuditSink;
}

const MAX_ROWS = 200;
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
 * trick of syntax can write; only admins reach the connection that can.
 */
export function databaseServer({ file, audit }: DatabaseOptions): AuthenticatedToolRegistry & Disposable {
  const readOnly = new DatabaseSync(file, { readOnly: true });
  const readWrite = new DatabaseSync(file, { timeout: 5_000 });
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
    async ({ sql, parameters: values }) => ({ structuredContent: select(readOnly, sql, values) }),
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
      const { changes } = run(() => readWrite.prepare(sql).run(...values));
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
    async () => ({ text: JSON.stringify(select(readOnly, 'SELECT * FROM orders ORDER BY id', []).rows), mimeType: 'application/json' }),
  );

  registry.resourceTemplate(
    'db://orders/{id}',
    { name: 'order', title: 'One order', mimeType: 'application/json', access: { roles: ['analyst'] } },
    async ({ id }) => {
      const [order] = select(readOnly, 'SELECT * FROM orders WHERE id = ?', [String(id)]).rows;
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

  return Object.assign(registry, {
    [Symbol.dispose]() {
      readOnly.close();
      readWrite.close();
    },
  });
}

function select(
  database: DatabaseSync,
  sql: string,
  values: readonly SQLInputValue[],
): { rows: Record<string, unknown>[]; truncated: boolean } {
  return run(() => {
    const statement = database.prepare(sql);
    const rows: Record<string, unknown>[] = [];
    for (const row of statement.iterate(...values)) {
      if (rows.length === MAX_ROWS) return { rows, truncated: true };
      rows.push({ ...row });
    }
    return { rows, truncated: false };
  });
}

/** SQLite's own message helps whoever wrote the statement; it holds nothing but that statement's mistakes. */
function run<T>(statement: () => T): T {
  try {
    return statement();
  } catch (error) {
    const message = (error as Error).message;
    throw new ToolError(/readonly/.test(message) ? 'This connection is read-only: only SELECT is possible here' : `SQLite: ${message}`);
  }
}
