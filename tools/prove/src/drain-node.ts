import type { JsonObject, RpcService } from '@mcp-blocks/core';
import { encryptedWebSocket } from '@mcp-blocks/encrypted-websocket';
import { http, SecureMCPServer } from '@mcp-blocks/secure-mcp-server';

/** How a node ends on SIGTERM: as it should, or with one of the bugs the proof has to notice. */
export type Ending = 'drain' | 'cut' | 'hasty';

/** What a node tells its parent. */
export type NodeReport = { readonly ready: true } | { readonly executed: number };

const DRAIN_DELAY_MS = 750;

const [port, ending] = process.argv.slice(2) as [string, Ending];
let executed = 0;

const service: RpcService = {
  info: { name: 'worker', version: '1.0.0', capabilities: { tools: {} } },
  handler: async ({ params }) => {
    const { ms, token } = params.arguments as JsonObject;
    await new Promise((resolve) => setTimeout(resolve, Number(ms)));
    executed += 1;
    return { content: [{ type: 'text', text: String(token) }] };
  },
};

const server = new SecureMCPServer({
  service,
  allowAnonymous: true,
  listeners: [http({ port: Number(port), drainDelayMs: ending === 'drain' ? DRAIN_DELAY_MS : 0, upgrades: [encryptedWebSocket()] })],
});

process.once('SIGTERM', async () => {
  if (ending !== 'cut') await server.drain(ending === 'hasty' ? 1 : 10_000);
  await server.stop();
  process.send?.({ executed } satisfies NodeReport, () => process.disconnect());
});

await server.start();
process.send?.({ ready: true } satisfies NodeReport);
