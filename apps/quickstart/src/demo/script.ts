import { readFile } from 'node:fs/promises';
import { verifyAuditTrail } from '@mcp-blocks/audit-trail';
import { isJsonObject, isRpcError, type RpcErrorCode } from '@mcp-blocks/core';
import { MCPClientPattern } from '@mcp-blocks/mcp-client-pattern';
import { PEOPLE, type Person } from '../identities.js';
import { STORM_WARNINGS_PER_MINUTE, type Stack } from '../stack.js';
import type { Narrator } from './narrator.js';

type Clients = Readonly<Record<Person, MCPClientPattern>>;

/** The scripted client: uses the stack as three people would, and checks every promise on the way. */
export async function runScript(stack: Stack, narrator: Narrator): Promise<void> {
  const clientOf = (person: Person) =>
    new MCPClientPattern({
      serverUrl: stack.endpoints.http,
      webSocketUrl: stack.endpoints.ws,
      credentials: { token: stack.tokens[person] },
    });
  const clients: Clients = { viewer: clientOf('viewer'), analyst: clientOf('analyst'), admin: clientOf('admin') };
  try {
    await Promise.all(Object.values(clients).map((client) => client.connect()));
    await lists(clients, narrator);
    await allowedCalls(clients, narrator);
    await deniedCalls(clients, narrator);
    await invalidArguments(clients, narrator);
    await resourcesAndPrompts(clients, narrator);
    await rateLimit(clients, narrator);
    await cacheHit(clients, narrator);
    await killedNode(stack, clients, narrator);
    await auditTrail(stack, narrator);
  } finally {
    await Promise.all(Object.values(clients).map((client) => client.close()));
  }
}

async function lists(clients: Clients, narrator: Narrator): Promise<void> {
  narrator.step('Everybody sees the tools they may use, and no others');
  const counts: number[] = [];
  for (const person of ['viewer', 'analyst', 'admin'] as const) {
    const { tools } = await clients[person].listTools();
    const names = tools.map((tool) => tool.name).sort();
    counts.push(names.length);
    const { state, transport } = clients[person].getConnectionStatus();
    narrator.say(`${PEOPLE[person].sub}, ${person}, ${state} by ${transport}: ${names.join(', ')}`);
  }
  const [viewer = 0, analyst = 0, admin = 0] = counts;
  narrator.check(
    viewer > 0 && viewer < analyst && analyst < admin,
    `${viewer}, ${analyst} and ${admin} tools of three services through one endpoint`,
  );
}

async function allowedCalls(clients: Clients, narrator: Narrator): Promise<void> {
  narrator.step('Calls that are allowed');
  const weather = structured(await clients.viewer.callTool('current_weather', { city: 'Lisbon' }));
  narrator.check(
    typeof weather.temperatureCelsius === 'number' && (weather.source === 'live' || weather.source === 'bundled'),
    `viewer, current_weather in Lisbon: ${String(weather.temperatureCelsius)} °C (${weather.source === 'live' ? 'live from the weather API' : 'from the bundled data set, the weather API is out of reach'})`,
  );
  const sql = 'SELECT city, amount_cents FROM orders WHERE status = ? AND amount_cents > ? ORDER BY amount_cents DESC';
  const { rows } = structured(await clients.analyst.callTool('query_orders', { sql, parameters: ['paid', 40_000] }));
  narrator.check(Array.isArray(rows) && rows.length === 2, `analyst, query_orders: ${JSON.stringify(rows)}`);
  const changed = text(
    await clients.admin.callTool('change_orders', { sql: "UPDATE orders SET status = 'shipped' WHERE id = ?", parameters: ['1001'] }),
  );
  narrator.check(changed === '1 rows changed', `admin, change_orders: ${changed}`);
}

async function deniedCalls(clients: Clients, narrator: Narrator): Promise<void> {
  narrator.step('Calls that are not allowed');
  await refused(narrator, 'invalid_params', 'viewer, query_orders', () => clients.viewer.callTool('query_orders', { sql: 'SELECT 1' }));
  await refused(narrator, 'invalid_params', 'analyst, change_orders', () =>
    clients.analyst.callTool('change_orders', { sql: 'DELETE FROM orders' }),
  );
  const write = await clients.analyst.callTool('query_orders', { sql: 'DELETE FROM orders' });
  narrator.check(write.isError === true, `analyst, query_orders with a DELETE: ${text(write)}`);
}

async function invalidArguments(clients: Clients, narrator: Narrator): Promise<void> {
  narrator.step('Arguments that make no sense, or mean harm');
  const wrong = await clients.viewer.callTool('current_weather', { town: 'Lisbon' });
  narrator.check(wrong.isError === true && text(wrong).includes('city'), `current_weather without its city: ${text(wrong)}`);
  for (const path of ['../../../etc/passwd', '/etc/passwd']) {
    const answer = await clients.viewer.callTool('read_file', { path });
    narrator.check(answer.isError === true && !text(answer).includes('root:'), `read_file: ${text(answer)}`);
  }
}

async function resourcesAndPrompts(clients: Clients, narrator: Narrator): Promise<void> {
  narrator.step('Resources from a file, a database, an API and memory; a prompt template');
  for (const uri of ['file:///handbook.md', 'db://orders/1002', 'weather://Singapore', 'memory://reads']) {
    const { contents } = await clients.analyst.readResource(uri);
    const [first] = contents as { text?: string }[];
    narrator.check((first?.text?.length ?? 0) > 0, `${uri}: ${shorten(first?.text ?? '')}`);
  }
  const { messages } = await clients.analyst.getPrompt('order_summary', { status: 'paid' });
  const [message] = messages as { content: { text?: string } }[];
  narrator.check(message?.content.text?.includes("'paid'") ?? false, `prompt order_summary: ${shorten(message?.content.text ?? '')}`);
}

async function rateLimit(clients: Clients, narrator: Narrator): Promise<void> {
  narrator.step(`A limit: ${STORM_WARNINGS_PER_MINUTE} storm warnings a minute for each person`);
  let answered = 0;
  let refusal: unknown;
  for (let call = 1; call <= STORM_WARNINGS_PER_MINUTE + 1; call += 1) {
    try {
      await clients.viewer.callTool('storm_warning', { city: 'Reykjavik' });
      answered += 1;
    } catch (error) {
      refusal = error;
    }
  }
  const limited = isRpcError(refusal) && refusal.code === 'rate_limited';
  const retryAfterMs = isRpcError(refusal) ? refusal.data?.retryAfterMs : undefined;
  narrator.check(
    answered === STORM_WARNINGS_PER_MINUTE && limited && typeof retryAfterMs === 'number',
    `${answered} answered, the next one refused: ${String((refusal as Error | undefined)?.message)} (retryAfterMs ${String(retryAfterMs)})`,
  );
  const other = text(await clients.analyst.callTool('storm_warning', { city: 'Reykjavik' }));
  narrator.check(other.startsWith('Storm'), `the analyst's own allowance is untouched: ${other}`);
}

async function cacheHit(clients: Clients, narrator: Narrator): Promise<void> {
  narrator.step('What has not changed is not asked for again');
  const before = clients.viewer.getMetrics().cachedResponses;
  await clients.viewer.readResource('file:///handbook.md');
  await clients.viewer.readResource('file:///handbook.md');
  const hits = clients.viewer.getMetrics().cachedResponses - before;
  narrator.check(hits === 1, `the handbook was read twice and fetched once (cachedResponses +${hits})`);
}

async function killedNode(stack: Stack, clients: Clients, narrator: Narrator): Promise<void> {
  narrator.step('kill -9 for one of two database nodes, in the middle of 60 calls');
  const victim = stack.nodes.find((node) => node.settings.id === 'database-1');
  if (victim === undefined) throw new Error('There is no node database-1');
  const total = 60;
  let answered = 0;
  const failures: string[] = [];
  const call = async (index: number) => {
    try {
      const { rows } = structured(
        await clients.analyst.callTool('query_orders', {
          sql: 'SELECT count(*) AS n FROM orders WHERE id <> ?',
          parameters: [String(index)],
        }),
      );
      if (Array.isArray(rows)) answered += 1;
      if (answered === total / 4) await victim.kill();
    } catch (error) {
      failures.push((error as Error).message);
    }
  };
  await Promise.all(Array.from({ length: total }, (_unused, index) => call(index)));
  narrator.say(`database-1 (process ${String(victim.pid)}) was killed after ${total / 4} answers`);
  narrator.check(
    answered === total && failures.length === 0,
    `${answered} of ${total} calls answered, ${failures.length} failed${failures[0] ? `: ${failures[0]}` : ''}`,
  );
  const { healthyNodes, totalNodes } = stack.clusters.database.getClusterMetrics();
  narrator.say(`the database cluster now has ${healthyNodes} of ${totalNodes} nodes healthy`);
}

async function auditTrail(stack: Stack, narrator: Narrator): Promise<void> {
  narrator.step('Everything that was decided is in the audit trail, and the trail is whole');
  await stack.flushAudit();
  let records = 0;
  for (const file of stack.auditFiles) {
    const verdict = await verifyAuditTrail(file);
    if (!verdict.ok) narrator.check(false, `${file}: ${verdict.problem.message}`);
    records += verdict.records;
  }
  narrator.check(records > 0, `${records} records in ${stack.auditFiles.length} hash chains verified, the killed node's among them`);
  const all = (await Promise.all(stack.auditFiles.map((file) => readFile(file, 'utf8')))).join('');
  const leaked = Object.values(stack.tokens).some((token) => all.includes(token));
  narrator.check(!leaked && all.includes('tool.denied'), 'denied calls are recorded with their reason, and no token is');
}

async function refused(narrator: Narrator, code: RpcErrorCode, what: string, call: () => Promise<unknown>): Promise<void> {
  try {
    await call();
    narrator.check(false, `${what}: was answered`);
  } catch (error) {
    narrator.check(isRpcError(error) && error.code === code, `${what}: ${(error as Error).message}`);
  }
}

function structured(result: { structuredContent?: unknown }): Record<string, unknown> {
  return isJsonObject(result.structuredContent) ? result.structuredContent : {};
}

function text(result: { content?: unknown }): string {
  const [first] = Array.isArray(result.content) ? (result.content as { text?: string }[]) : [];
  return (first?.text ?? '').replaceAll('\n', ' ');
}

const shorten = (value: string) => {
  const line = value.replaceAll(/\s+/g, ' ').trim();
  return line.length > 90 ? `${line.slice(0, 89)}…` : line;
};
