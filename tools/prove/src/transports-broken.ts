import type { ProtocolEra } from '@mcp-blocks/core';
import { type TransportHarness, TransportRelay, transportContract } from '@mcp-blocks/core/testing';
import { encryptedWebSocket, WebSocketClientTransport } from '@mcp-blocks/encrypted-websocket';
import type { JSONRPCMessage, Transport } from '@modelcontextprotocol/client';
import { serveWire } from './transports-matrix.ts';
import { type Ends, MemoryListener } from './transports-memory.ts';
import type { Wire } from './transports-wires.ts';

type Send = (message: JSONRPCMessage) => Promise<void>;

/** A transport with one thing wrong, and the case that has to fail for it. */
export interface BrokenTransport {
  readonly name: string;
  readonly fails: string;
  readonly wire: Wire;
}

const isNotification = (message: JSONRPCMessage) => 'method' in message && !('id' in message);
const isProgress = (message: JSONRPCMessage) => 'method' in message && message.method === 'notifications/progress';

/** Messages pass from one end to the other in memory, except as `break_` has it. */
function inMemory(break_: (ends: Ends) => void): Wire {
  return {
    name: 'in memory',
    traits: {},
    async open() {
      const listener = new MemoryListener(break_);
      return { listener, dial: async () => listener.connect() };
    },
  };
}

/** What one end sends goes through `wrap` first. */
function sending(end: Transport, wrap: (send: Send) => Send): void {
  end.send = wrap(end.send.bind(end) as Send);
}

/** WebSocket, with options that do not keep what is said of it. */
function webSocket(server: Parameters<typeof encryptedWebSocket>[0], client: { heartbeatIntervalMs?: number } = {}): Wire {
  return {
    name: 'WS',
    traits: { livenessMs: 40_000 },
    async open(clock) {
      const listener = encryptedWebSocket({ port: 0, ...server });
      return {
        listener,
        async dial() {
          const relay = await TransportRelay.open({ port: Number(new URL(listener.endpoint as string).port) });
          const transport = new WebSocketClientTransport(`ws://127.0.0.1:${relay.port}/ws`, { clock, ...client });
          return { transport, link: relay, close: () => relay.close() };
        },
      };
    },
  };
}

const HOUR_MS = 3_600_000;

/** Mistakes that transports are made with. */
export const BROKEN: readonly BrokenTransport[] = [
  {
    name: 'drops every seventh message',
    fails: 'hundreds of concurrent calls each get their own answer',
    wire: inMemory(({ server }) => {
      let count = 0;
      sending(server, (send) => async (message) => {
        count += 1;
        if (count % 7 !== 0) await send(message);
      });
    }),
  },
  {
    name: 'swaps notifications',
    fails: 'progress arrives in order while the call runs',
    wire: inMemory(({ server }) => {
      let held: JSONRPCMessage | undefined;
      sending(server, (send) => async (message) => {
        if (isProgress(message) && held === undefined) {
          held = message;
          return;
        }
        await send(message);
        const late = held;
        held = undefined;
        if (late !== undefined) await send(late);
      });
    }),
  },
  {
    name: 'delivers progress after the result',
    fails: 'progress right before the result is not lost',
    wire: inMemory(({ server }) => {
      const late: JSONRPCMessage[] = [];
      sending(server, (send) => async (message) => {
        if (isProgress(message)) {
          late.push(message);
          return;
        }
        await send(message);
        for (const progress of late.splice(0)) await send(progress);
      });
    }),
  },
  {
    name: 'loses cancellations',
    fails: 'a client that cancels a call aborts its handler, and no other',
    wire: inMemory(({ client }) => sending(client, (send) => async (message) => (isNotification(message) ? undefined : send(message)))),
  },
  {
    name: 'delivers requests twice',
    fails: 'a call reaches the service once, and comes back as it was sent',
    wire: inMemory(({ client }) => {
      sending(client, (send) => async (message) => {
        await send(message);
        if (!('method' in message) || message.method !== 'tools/call') return;
        await send({ ...message, id: `again ${String((message as { id?: unknown }).id)}` } as JSONRPCMessage);
      });
    }),
  },
  {
    name: "keeps the server's end to itself",
    fails: 'a server that closes settles what its clients wait for',
    wire: inMemory(({ server }) => {
      server.close = async () => server.onclose?.();
    }),
  },
  {
    name: "keeps the client's end to itself",
    fails: 'a client that closes aborts what it had running',
    wire: inMemory(({ client }) => {
      client.close = async () => client.onclose?.();
    }),
  },
  {
    name: 'delivers after close',
    fails: 'a closed client is told nothing more',
    wire: inMemory(({ client, server }) => {
      // The SDK lets go of its handler when it is told of the end.
      let deliver: Transport['onmessage'];
      sending(server, (send) => async (message) => {
        deliver = client.onmessage ?? deliver;
        if (isNotification(message)) deliver?.(message);
        else await send(message);
      });
      client.close = async () => client.onclose?.();
    }),
  },
  {
    name: 'loses the details of errors',
    fails: 'an application error arrives with code and data',
    wire: inMemory(({ server }) => {
      sending(server, (send) => async (message) => {
        if (!('error' in message)) return send(message);
        const { code, message: text } = message.error;
        await send({ ...message, error: { code, message: text } });
      });
    }),
  },
  {
    name: 'drops what is larger than 64 KiB',
    fails: 'a megabyte goes either way unharmed',
    wire: inMemory(({ client }) => {
      sending(client, (send) => async (message) => (JSON.stringify(message).length > 65_536 ? undefined : send(message)));
    }),
  },
  {
    name: 'takes text apart at line separators',
    fails: 'a call reaches the service once, and comes back as it was sent',
    wire: inMemory(({ client }) => {
      sending(client, (send) => async (message) => send(JSON.parse(JSON.stringify(message).replaceAll('\u2028', '')) as JSONRPCMessage));
    }),
  },
  {
    name: 'answers one call after the other',
    fails: 'a quick call is not held up by a slow one',
    wire: inMemory(({ client, server }) => {
      const waiting: JSONRPCMessage[] = [];
      let busy = false;
      let forward: Send = async () => {};
      sending(client, (send) => {
        forward = send;
        return async (message) => {
          if (!('method' in message) || !('id' in message)) return send(message);
          if (busy) return void waiting.push(message);
          busy = true;
          await send(message);
        };
      });
      sending(server, (send) => async (message) => {
        await send(message);
        if ('method' in message) return;
        const next = waiting.shift();
        busy = next !== undefined;
        if (next !== undefined) await forward(next);
      });
    }),
  },
  {
    name: 'keeps whatever a client does not read',
    fails: 'a client that does not read stops the flow, and gets everything once it reads',
    wire: webSocket({ maxBufferedBytes: 1024 ** 3 }),
  },
  {
    name: 'never asks whether its client is there',
    fails: 'the server gives up a client that has gone silent, in the time it says',
    wire: webSocket({ heartbeatIntervalMs: HOUR_MS }),
  },
  {
    name: 'never asks whether its server is there',
    fails: 'the client gives up a server that has gone silent, in the time it says',
    wire: webSocket({}, { heartbeatIntervalMs: HOUR_MS }),
  },
];

/** How long a case waits here for what will not come. */
const PATIENCE_MS = 3_000;

/** Whether the case that is about the mistake fails for it, in one era. */
export async function isFound({ wire, fails }: BrokenTransport, era: ProtocolEra): Promise<boolean> {
  const harness: TransportHarness = { ...wire.traits, patienceMs: PATIENCE_MS, era, serve: serveWire(wire, era, 'SDK v2') };
  const broken = transportContract.find(({ name }) => name === fails);
  if (broken === undefined) throw new Error(`there is no case '${fails}'`);
  return broken.run(harness).then(
    () => false,
    () => true,
  );
}
