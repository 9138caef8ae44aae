import { rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Ready, startReady } from './running-demo.js';

let demo: Ready & { stop(): Promise<number | null> };
beforeAll(async () => {
  demo = await startReady();
}, 60_000);
afterAll(async () => {
  await demo.stop();
});

async function as<T>(person: keyof Ready['tokens'], use: (client: Client) => Promise<T>): Promise<T> {
  const client = new Client({ name: 'attacker', version: '1' }, { versionNegotiation: { mode: 'auto' } });
  const headers = { authorization: `Bearer ${demo.tokens[person]}` };
  await client.connect(new StreamableHTTPClientTransport(new URL(demo.endpoints.http), { requestInit: { headers } }));
  try {
    return await use(client);
  } finally {
    await client.close();
  }
}

async function sql(tool: 'query_orders' | 'change_orders', statement: string): Promise<string> {
  const result = await as(tool === 'query_orders' ? 'analyst' : 'admin', (client) =>
    client.callTool({ name: tool, arguments: { sql: statement } }),
  );
  return `${result.isError === true ? 'refused: ' : ''}${(result.content as { text: string }[])[0]?.text}`;
}

describe('the database', () => {
  const stolen = join(tmpdir(), `stolen-${process.pid}.sqlite`);

  it.each([
    ['query_orders', "CREATE TEMP TABLE orders AS SELECT 'forged' AS id"],
    ['query_orders', `VACUUM INTO '${stolen}'`],
    ['query_orders', `ATTACH '${stolen}' AS other`],
    ['query_orders', 'BEGIN'],
    ['query_orders', 'PRAGMA database_list'],
    ['query_orders', 'DELETE FROM orders'],
    ['query_orders', 'WITH gone AS (SELECT 1) DELETE FROM orders'],
    ['query_orders', "SELECT load_extension('/tmp/x')"],
    ['query_orders', 'SELECT * FROM pragma_database_list'],
    ['query_orders', 'SELECT 1; SELECT 2'],
    ['change_orders', "UPDATE orders SET city = 'Bern' WHERE id = 'none'; DELETE FROM orders"],
    ['change_orders', `ATTACH '${stolen}' AS other`],
    ['change_orders', `VACUUM INTO '${stolen}'`],
    ['change_orders', 'BEGIN EXCLUSIVE'],
    ['change_orders', 'DROP TABLE orders'],
  ] as const)('%s refuses %s', async (tool, statement) => {
    expect(await sql(tool, statement)).toMatch(/^refused: /);
    await expect(stat(stolen).finally(() => rm(stolen, { force: true }))).rejects.toThrow('ENOENT');
    // Twice, for both nodes.
    for (let node = 0; node < 2; node += 1) {
      expect(await sql('query_orders', 'SELECT count(*) AS n, max(id) AS last FROM orders')).toContain('"n":5,"last":"1005"');
    }
  });

  it.each([
    'WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n',
    "SELECT printf('%.*c', 400000000, 'x') AS x",
  ])(
    'ends %s and goes on serving',
    async (statement) => {
      const endless = Promise.all([sql('query_orders', statement), sql('query_orders', statement)]);
      expect((await as('viewer', (client) => client.listTools())).tools.length).toBeGreaterThan(0);
      for (const answer of await endless) expect(answer).toMatch(/^refused: /);
      for (let node = 0; node < 2; node += 1) expect(await sql('query_orders', 'SELECT count(*) AS n FROM orders')).toContain('"n":5');
    },
    30_000,
  );

  it('says which rows are too many', async () => {
    expect(await sql('query_orders', 'WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x FROM n')).toContain(
      '"truncated":true',
    );
  });
});

it.each([
  'weather://Atlantis',
  'file:///nothing.md',
  'file:///..%2f..%2fetc/passwd',
  'file:///..%5c..%5cetc',
  'file:////etc/passwd',
  'file:///handbook.md/x',
  `file:///${'a'.repeat(300)}`,
])('%s is not found, and no folder is named', async (uri) => {
  await expect(as('viewer', (client) => client.readResource({ uri }))).rejects.toMatchObject({
    code: -32602,
    message: expect.not.stringMatching(/tmp|orders\.sqlite/),
  });
});
