import type { JSONRPCMessage } from '@modelcontextprotocol/client';
import { WebSocket } from 'ws';
import { type Kind, kindOf, trustedCa } from './kinds.ts';
import { ourTransport } from './lanes.ts';

/** Opens so many connections, each used once, and keeps them; tells its parent, and ends when that disconnects. */
async function main(kind: Kind, port: number, count: number): Promise<void> {
  const open: unknown[] = [];
  const openSome = async () => {
    while (open.length < count) {
      const at = open.push(undefined) - 1;
      open[at] = kind.ours ? await openUsed(kind, port) : await openPlain(kind, port);
    }
  };
  await Promise.all(Array.from({ length: 16 }, openSome));
  process.on('message', () => process.send?.({ open: open.length }));
  process.send?.({ ready: true });
}

const fail = (error: Error) => {
  console.error(error.message);
  process.exit(1);
};

function openPlain(kind: Kind, port: number): Promise<WebSocket> {
  const socket = new WebSocket(`${kind.tls ? 'wss' : 'ws'}://127.0.0.1:${port}/ws`, {
    perMessageDeflate: false,
    ...(kind.tls ? { ca: trustedCa() } : {}),
  });
  socket.on('error', fail);
  socket.on('close', () => fail(new Error('an idle connection was closed')));
  return new Promise((resolve) => {
    socket.once('open', () => socket.send('{"jsonrpc":"2.0","id":1,"method":"ping"}'));
    socket.once('message', () => resolve(socket));
  });
}

async function openUsed(kind: Kind, port: number): Promise<unknown> {
  const transport = ourTransport(kind, port);
  transport.onerror = fail;
  transport.onclose = () => fail(new Error('an idle connection was closed'));
  const answered = new Promise<JSONRPCMessage>((resolve) => (transport.onmessage = resolve));
  await transport.start();
  await transport.send({
    jsonrpc: '2.0',
    id: 1,
    method: 'initialize',
    params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'bench', version: '1.0.0' } },
  });
  if (!('result' in (await answered))) throw new Error('initialize was refused');
  return transport;
}

process.once('disconnect', () => process.exit());
const [id, port, count] = process.argv.slice(2) as [string, string, string];
await main(kindOf(id), Number(port), Number(count));
