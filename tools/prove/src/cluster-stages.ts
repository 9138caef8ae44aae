import { MCPClientPattern } from '@mcp-blocks/mcp-client-pattern';
import { type GatewayView, PANIC_THRESHOLD, type Trouble } from './cluster-orders.ts';
import { type GatewayProcess, until } from './cluster-processes.ts';
import type { World } from './cluster-world.ts';

const PATIENCE_MS = 60_000;

/** As many callers at a time: each is kept on one node, together they are on most. */
const VISITORS = 20;
const ROUNDS = 20;

function visitors(round: number): readonly string[] {
  return Array.from({ length: VISITORS }, (_, index) => `visitor-${round}-${index}`);
}

/** Makes one call as the SDK would, without a client that tries again; resolves with the node that answered, if one did. */
async function readAs(name: string, { url }: GatewayProcess): Promise<string | undefined> {
  const _meta = {
    'io.modelcontextprotocol/protocolVersion': '2026-07-28',
    'io.modelcontextprotocol/clientInfo': { name, version: '1.0.0' },
    'io.modelcontextprotocol/clientCapabilities': {},
  };
  const response = await fetch(url, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      authorization: `Bearer ${name}`,
      'mcp-protocol-version': '2026-07-28',
      'mcp-method': 'tools/call',
      'mcp-name': 'read',
    },
    body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'read', arguments: { token: name }, _meta } }),
  });
  return new RegExp(`"text":"${name} (node-\\d)"`).exec(await response.text())?.[1];
}

/**
 * Makes so many of 5 nodes fail their health checks while they answer calls as ever, and looks who is asked:
 * the sound ones alone, unless there is panic; then all. Resolves with what was not as it should be.
 */
export async function panicTable(world: World, rows: readonly number[] = [0, 1, 2, 3, 4, 5]): Promise<readonly string[]> {
  const ids = world.nodes.map(({ id }) => id);
  const problems: string[] = [];
  for (const sick of rows) {
    for (const [index, node] of world.nodes.entries()) node.trouble({ sick: index < sick });
    const panic = (ids.length - sick) / ids.length < PANIC_THRESHOLD;
    const expected = panic ? ids : ids.slice(sick);
    for (const gateway of world.gateways) {
      const answered = await answering(gateway, sick, expected);
      const row = `${sick} of ${ids.length} unhealthy`;
      if (gateway.view.panic !== panic) problems.push(`${row}: panic is ${gateway.view.panic}`);
      if (answered.join() !== expected.join()) problems.push(`${row}: ${answered.join(', ') || 'nobody'} answered`);
    }
  }
  for (const node of world.nodes) node.trouble({});
  await Promise.all(ids.map((id) => world.recovered(id)));
  return problems;
}

/** Who answers while just the first `sick` nodes are unhealthy. Asks more than once for those who are missing. */
async function answering(gateway: GatewayProcess, sick: number, expected: readonly string[]): Promise<readonly string[]> {
  const settled = ({ nodes }: GatewayProcess['view']) =>
    nodes.length > 0 && nodes.every(({ id, health, ejected }) => !ejected && (health === 'unhealthy') === Number(id.slice(5)) <= sick);
  const answered = new Set<string>();
  const deadline = performance.now() + PATIENCE_MS;
  for (let round = 0; round < ROUNDS; round += 1) {
    await until(`the first ${sick} nodes are unhealthy`, () => settled(gateway.view));
    let disturbed = false;
    const look = (view: GatewayView) => (disturbed ||= !settled(view) || view.nodes.some(({ circuit }) => circuit !== 'closed'));
    gateway.onView(look);
    look(gateway.view);
    const nodes = await Promise.all(visitors(round).map((name) => readAs(name, gateway)));
    if (disturbed && performance.now() < deadline) {
      // A busy machine has failed a check or a call that should have passed. This round says nothing.
      round -= 1;
      continue;
    }
    for (const node of nodes) if (node !== undefined) answered.add(node);
    if (expected.every((id) => answered.has(id))) break;
  }
  return [...answered].sort();
}

/** Lets 4 of 5 nodes fail under load until both gateways have ejected as many as they may, and goes on for a while. */
export async function ejectMany(world: World): Promise<readonly string[]> {
  const most = world.gateways.map(() => 0);
  for (const [index, gateway] of world.gateways.entries()) {
    gateway.onView(({ nodes }) => (most[index] = Math.max(most[index] as number, nodes.filter(({ ejected }) => ejected).length)));
  }
  for (const node of world.nodes.slice(1)) node.trouble({ failing: 'unavailable', sick: true });
  let rounds = 0;
  let over = false;
  const load = async () => {
    for (; !over; rounds += 1) {
      await Promise.all(world.gateways.flatMap((gateway) => visitors(rounds).map((name) => readAs(name, gateway))));
    }
  };
  const loading = load();
  const cap = 2;
  const reached = until('both gateways have ejected what they may', () => most.every((count) => count >= cap) && rounds >= 10);
  const problem = await reached.then(
    () => [],
    (error: Error) => [error.message],
  );
  over = true;
  await loading;
  for (const node of world.nodes) node.trouble({});
  await Promise.all(world.nodes.map(({ id }) => world.recovered(id)));
  return problem;
}

/** What becomes of every call in an outage. */
type Outage = NonNullable<Trouble['failing']>;

export const OUTAGES: readonly Outage[] = ['unavailable', 'silent', 'lost'];
/**
 * Those in which a retry needs a place at once. Where a connection is lost it may wait for one: what a node that
 * dies leaves behind is served elsewhere, and without breakers every call of such an outage tries three nodes.
 */
export const STRICT_OUTAGES: readonly Outage[] = ['unavailable', 'silent'];

/** Of each gateway: so many that the budget's share decides, not the few retries it always allows. */
const CALLERS = 100;

/** How many requests the nodes get for each call that the gateways get, in outages of these kinds: the worst of them. */
export async function amplification(world: World, outages: readonly Outage[], calls: number): Promise<number> {
  let worst = 0;
  for (const failing of outages) {
    const clients = world.gateways.map(({ url }) => {
      const credentials = { token: failing };
      // Its own retries are calls of the client's, and have a budget of their own.
      return new MCPClientPattern({ serverUrl: url, credentials, maxConcurrentRequests: CALLERS, retryOptions: { maxAttempts: 0 } });
    });
    const read = (client: MCPClientPattern) => client.request('tools/call', { name: 'read', arguments: { token: 'x' } });
    // Connected, and the tools are known: what is counted from now on is calls.
    await Promise.all(clients.map((client) => untilAnswered(() => read(client))));
    const before = await total(world);
    for (const node of world.nodes) node.trouble({ failing });
    let left = calls;
    const loop = async (client: MCPClientPattern) => {
      while (left > 0) {
        left -= 1;
        await read(client).catch(() => {});
      }
    };
    await Promise.all(clients.flatMap((client) => Array.from({ length: CALLERS }, () => loop(client))));
    for (const node of world.nodes) node.trouble({});
    worst = Math.max(worst, ((await total(world)) - before) / calls);
    await Promise.all(clients.map((client) => client.close()));
    await world.recovered();
  }
  return worst;
}

async function untilAnswered(ask: () => Promise<unknown>): Promise<void> {
  const deadline = performance.now() + PATIENCE_MS;
  for (;;) {
    try {
      await ask();
      return;
    } catch (error) {
      // A busy machine; what it is asked for counts nowhere yet.
      if (performance.now() > deadline) throw error;
    }
  }
}

async function total(world: World): Promise<number> {
  const counts = await Promise.all(world.nodes.map((node) => node.count()));
  return counts.reduce((sum, count) => sum + count, 0);
}
