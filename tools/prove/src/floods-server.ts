/** The server of `prove:floods`: one process with a listener of every kind, as its argument says. */
import { readFileSync } from 'node:fs';
import type { RpcService } from '@mcp-blocks/core';
import { type EncryptedWebSocketOptions, encryptedWebSocket } from '@mcp-blocks/encrypted-websocket';
import { SecureMCPServer } from '@mcp-blocks/secure-mcp-server';
import { LONG_BYTES, NOISE_KEYS, NOISE_PROTOCOL, type Ports, type ServerSetting, type Usage } from './floods-setting.ts';

/** Seldom, since it takes a thousandth of a second that somebody may wait for. */
const SAMPLE_MS = 250;

async function serve({ maxMessageBytes, ...setting }: ServerSetting): Promise<void> {
  const long = 'x'.repeat(LONG_BYTES);
  const service: RpcService = {
    info: { name: 'flooded', version: '1.0.0', capabilities: { tools: {} } },
    handler: async ({ params }) => ({ content: [{ type: 'text', text: params.name === 'long' ? long : 'here' }] }),
  };
  const certificate = (name: string) =>
    readFileSync(new URL(`../../../packages/encrypted-websocket/test/fixtures/test-only-${name}`, import.meta.url));
  const common: EncryptedWebSocketOptions = { port: 0, maxConnections: 50_000, ...setting };
  const listeners = {
    ws: encryptedWebSocket({ ...common, deflate: true }),
    wss: encryptedWebSocket({ ...common, tls: { key: certificate('server.key'), cert: certificate('server.pem') } }),
    noise: encryptedWebSocket({ ...common, noise: { protocols: [NOISE_PROTOCOL], privateKey: NOISE_KEYS.privateKey } }),
  };
  const server = new SecureMCPServer({
    service,
    allowAnonymous: true,
    listeners: Object.values(listeners),
    // What peers do wrong, thousands of times.
    onError: () => {},
    limits: { maxConnections: 50_000, maxMessageBytes },
  });
  await server.start();
  let peakResidentBytes = 0;
  let peakSockets = 0;
  const sample = () => {
    peakResidentBytes = Math.max(peakResidentBytes, process.memoryUsage.rss());
    peakSockets = Math.max(peakSockets, openSockets());
  };
  setInterval(sample, SAMPLE_MS).unref();
  process.on('message', async () => {
    sample();
    for (let pass = 0; pass < 3; pass += 1) {
      globalThis.gc?.();
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    const { heapUsed, external, rss } = process.memoryUsage();
    process.send?.({
      heapBytes: heapUsed + external,
      residentBytes: rss,
      peakResidentBytes,
      sockets: openSockets(),
      peakSockets,
    } satisfies Usage);
    peakResidentBytes = 0;
    peakSockets = 0;
  });
  const portOf = ({ endpoint }: { readonly endpoint: string | undefined }) => Number(new URL(endpoint as string).port);
  process.send?.({ ws: portOf(listeners.ws), wss: portOf(listeners.wss), noise: portOf(listeners.noise) } satisfies Ports);
}

function openSockets(): number {
  return process.getActiveResourcesInfo().filter((name) => name === 'TCPSocketWrap').length;
}

process.once('disconnect', () => process.exit());
await serve(JSON.parse(process.argv[2] as string) as ServerSetting);
