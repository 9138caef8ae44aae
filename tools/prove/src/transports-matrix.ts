import { LEGACY_PROTOCOL_VERSION, MODERN_PROTOCOL_VERSION, type ProtocolEra } from '@mcp-blocks/core';
import {
  ManualClock,
  type TransportFeature,
  type TransportHarness,
  type TransportServeOptions,
  type TransportServer,
  TransportTestService,
} from '@mcp-blocks/core/testing';
import { SecureMCPServer } from '@mcp-blocks/secure-mcp-server';
import { CLIENTS, type ClientName, connectClient } from './transports-clients.ts';
import { StdioServer } from './transports-stdio.ts';
import { type Dialled, STDIO_TRAITS, WIRES, type Wire } from './transports-wires.ts';

/** One column of the matrix. */
export interface Column {
  readonly transport: string;
  readonly client: ClientName;
  readonly harness: TransportHarness;
}

export const REVISIONS: Readonly<Record<ProtocolEra, string>> = { modern: MODERN_PROTOCOL_VERSION, legacy: LEGACY_PROTOCOL_VERSION };

/** Nothing here takes a second on a machine that is not busy. */
const PATIENCE_MS = 20_000;

/** Every transport, in both eras, with every client. */
export function columns(): Column[] {
  const pairs = CLIENTS.flatMap((client) => (['modern', 'legacy'] as const).map((era) => ({ client, era })));
  return pairs
    .filter(({ client, era }) => !(client === 'SDK v1' && era === 'modern'))
    .flatMap(({ client, era }) => [
      ...WIRES.map((wire) => {
        const lacks = { ...wire.traits.lacks, ...lacksOf(client, era), ...wire.lacksWith?.(era, client) };
        return {
          transport: wire.name,
          client,
          harness: { patienceMs: PATIENCE_MS, ...wire.traits, lacks, era, serve: serveWire(wire, era, client) },
        };
      }),
      {
        transport: 'stdio',
        client,
        harness: {
          patienceMs: PATIENCE_MS,
          ...STDIO_TRAITS,
          lacks: { ...STDIO_TRAITS.lacks, ...lacksOf(client, era) },
          era,
          serve: serveStdio(era, client),
        },
      },
    ]);
}

function lacksOf(client: ClientName, era: ProtocolEra): Partial<Record<TransportFeature, string>> {
  if (era === 'legacy') return { 'explicit subscriptions': 'in 2025-11-25 changes come unasked' };
  return client === 'MCPClientPattern' ? { 'explicit subscriptions': 'MCPClientPattern subscribes by itself' } : {};
}

export function serveWire(wire: Wire, era: ProtocolEra, client: ClientName): TransportHarness['serve'] {
  return async ({ requestTimeoutMs }: TransportServeOptions) => {
    const clock = new ManualClock();
    const service = new TransportTestService();
    const { listener, dial, close } = await wire.open(clock);
    const server = new SecureMCPServer({
      service,
      allowAnonymous: true,
      listeners: [listener],
      clock,
      limits: { requestTimeoutMs },
      onError: () => {},
    });
    await server.start();
    const ends = new Ends();
    return {
      probe: service,
      advance: (ms) => clock.advance(ms),
      connect: (options) => ends.connect(() => dial(client), client, { ...options, era, clock, kind: wire.name }),
      stop: () => ticking(clock, () => server.stop()),
      close: () =>
        ticking(clock, async () => {
          await server.stop();
          await ends.close();
          await close?.();
        }),
    };
  };
}

function serveStdio(era: ProtocolEra, client: ClientName): TransportHarness['serve'] {
  return async (serveOptions): Promise<TransportServer> => {
    const clock = new ManualClock();
    const server = await StdioServer.open(serveOptions);
    const ends = new Ends();
    return {
      probe: server,
      async advance(ms) {
        await server.advance(ms);
        await clock.advance(ms);
      },
      connect: (options) =>
        ends.connect(async () => server.dial(client === 'SDK v1' ? 'v1' : 'v2'), client, { ...options, era, clock, kind: 'stdio' }),
      stop: () => server.stop(),
      close: () =>
        ticking(clock, async () => {
          await server.stop();
          await ends.close();
        }),
    };
  };
}

/** The clients of one server. */
class Ends {
  readonly #open: (() => Promise<void>)[] = [];

  async connect(dial: () => Promise<Dialled>, client: ClientName, settings: Parameters<typeof connectClient>[2]) {
    const dialled = await dial();
    if (dialled.close !== undefined) this.#open.push(dialled.close);
    const made = await connectClient(client, dialled.transport, settings);
    this.#open.unshift(() => made.close());
    return { client: made, link: dialled.link };
  }

  async close(): Promise<void> {
    for (const close of this.#open.splice(0)) await close();
  }
}

/** Does what may wait for a peer that is silent by now: time goes on meanwhile. */
async function ticking(clock: ManualClock, work: () => Promise<void>): Promise<void> {
  let done = false;
  const finished = work().finally(() => {
    done = true;
  });
  finished.catch(() => {});
  while (!done) {
    await new Promise((resolve) => setImmediate(resolve));
    if (clock.pendingTimers > 0) await clock.advance(1000);
  }
  await finished;
}
