/** The good client of `prove:floods`: calls one tool after the other, on a connection of each kind in turn. */
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { type WebSocketClientOptions, WebSocketClientTransport } from '@mcp-blocks/encrypted-websocket';
import { Client } from '@modelcontextprotocol/client';
import { NOISE_KEYS, NOISE_PROTOCOL, type Ports } from './floods-setting.ts';

const PAUSE_MS = 3;

const { ws, wss, noise } = JSON.parse(process.argv[2] as string) as Ports;
const ca = readFileSync(new URL('../../../packages/encrypted-websocket/test/fixtures/test-only-ca.pem', import.meta.url));
const ends: readonly [string, WebSocketClientOptions][] = [
  [`ws://127.0.0.1:${ws}/ws`, {}],
  [`wss://127.0.0.1:${wss}/ws`, { tls: { ca } }],
  [`ws://127.0.0.1:${noise}/ws`, { noise: { protocol: NOISE_PROTOCOL, serverPublicKey: NOISE_KEYS.publicKey } }],
];
const clients: Client[] = [];
for (const [url, options] of ends) {
  const client = new Client({ name: 'good', version: '1.0.0' });
  await client.connect(new WebSocketClientTransport(url, options));
  clients.push(client);
}

let latenciesMs: number[] = [];
process.once('disconnect', () => process.exit());
process.on('message', () => {
  process.send?.(latenciesMs);
  latenciesMs = [];
});
process.send?.('ready');

// A call that fails ends the process, which whoever asks is told.
for (let turn = 0; ; turn += 1) {
  const startedAt = performance.now();
  await (clients[turn % clients.length] as Client).callTool({ name: 'short', arguments: {} });
  latenciesMs.push(performance.now() - startedAt);
  await sleep(PAUSE_MS);
}
