import { META, RpcError } from '@mcp-blocks/core';
import {
  AmbiguousOutcomeError,
  type Connector,
  type ConnectorEnvironment,
  type MCPClientConfig,
  networkConnectors,
} from '@mcp-blocks/mcp-client-pattern';
import { CallBook, type Verdict } from './client-book.ts';
import { measureHeap, slopeOf } from './client-heap.ts';
import { Ledger } from './client-ledger-process.ts';
import { endWorlds, startWorlds, storm, type World } from './client-storm.ts';
import { type MakeCall, makeCall } from './client-workload.ts';

const FAULTS = 6;
const MAX_STORMS = 20;
const CALLS_PER_FAULT = 50;
const PATIENCE_MS = 2000;

interface Mutant {
  readonly config?: Partial<MCPClientConfig>;
  readonly make?: MakeCall;
  isFound(verdict: Verdict): boolean;
}

/** What to do, instead of failing, when the outcome is not known. */
const afterLoss =
  (instead: (error: AmbiguousOutcomeError, ...call: Parameters<MakeCall>) => ReturnType<MakeCall>): MakeCall =>
  async (...call) => {
    try {
      return await makeCall(...call);
    } catch (error) {
      if (!(error instanceof AmbiguousOutcomeError)) throw error;
      return instead(error, ...call);
    }
  };

/** Gives a tool call another key each time it is sent. */
function forgetful(environment: ConnectorEnvironment): readonly Connector[] {
  let keys = 0;
  return networkConnectors(environment).map((connector) => ({
    kind: connector.kind,
    async open(...args) {
      const connection = await connector.open(...args);
      const { request } = connection;
      connection.request = (method, params, options) =>
        request.call(
          connection,
          method,
          method === 'tools/call' ? { ...params, _meta: { [META.idempotencyKey]: `forgotten-${(keys += 1)}` } } : params,
          options,
        );
      return connection;
    },
  }));
}

/** Clients with bugs, each of which breaks a promise of its own. */
const MUTANTS: Readonly<Record<string, Mutant>> = {
  'repeats calls that may have run': {
    make: (client, kind, args, options) => client.callTool(kind, args, { ...options, repeatable: true }),
    isFound: ({ duplicates }) => duplicates > 0,
  },
  'makes calls again that failed as ambiguous': {
    make: afterLoss((_error, ...call) => makeCall(...call)),
    isFound: ({ duplicates }) => duplicates > 0,
  },
  'sends a call again with another key': { config: { connectors: forgetful }, isFound: ({ duplicates }) => duplicates > 0 },
  'says that lost calls have succeeded': {
    make: afterLoss(async (_error, _client, _kind, { id }) => ({ content: [{ type: 'text', text: `${id} 1` }] })),
    isFound: ({ silentLosses }) => silentLosses > 0,
  },
  'says that lost calls have not run': {
    make: afterLoss(async ({ message, data }) => {
      throw new RpcError('unavailable', message, { data: { ...data, sent: false } });
    }),
    isFound: ({ silentLosses }) => silentLosses > 0,
  },
  'does not say that lost calls are ambiguous': {
    make: afterLoss(async ({ message, data }) => {
      throw new RpcError('timeout', message, { data: { ...data, sent: true } });
    }),
    isFound: ({ unreported }) => unreported > 0,
  },
  'reports the key of another call': {
    make: afterLoss(async ({ method, tool }) => {
      throw new AmbiguousOutcomeError({ method, tool, idempotencyKey: 'another' }, 'timeout');
    }),
    isFound: ({ unreported }) => unreported > 0,
  },
  'never settles lost calls': { make: afterLoss(() => new Promise<never>(() => {})), isFound: ({ silentLosses }) => silentLosses > 0 },
};

/** Those above, and two leaks. */
export const MUTANT_COUNT = Object.keys(MUTANTS).length + 2;

/** How the heap is looked at. */
export interface HeapTrial {
  readonly reconnects: number;
  /** Bytes by which a heap may seem to grow over all its reconnects: noise of the collector, and of code being compiled. */
  readonly maxGrowthBytes: number;
  /** Numbers kept with every connection that leaks. */
  readonly ballast: number;
  /** How long a connection may take to come. */
  readonly patienceMs: number;
}

/** The planted bugs that were not found, on a world of their own. */
export async function unnoticedMutants(heap: HeapTrial): Promise<string[]> {
  const ledger = await Ledger.start();
  const worlds = await startWorlds(1, ledger.port);
  try {
    const [world] = worlds as [World];
    const unnoticed: string[] = [];
    const book = new CallBook();
    for (const [name, mutant] of Object.entries(MUTANTS)) {
      if (!(await isNoticed(mutant, world, ledger, book))) unnoticed.push(`a client that ${name}`);
    }
    const { leaked, points } = await measureHeap(world, {
      reconnects: heap.reconnects,
      patienceMs: heap.patienceMs,
      leak: { ballast: heap.ballast },
    });
    if (leaked.length < heap.reconnects) unnoticed.push('a client that keeps a timer per reconnect');
    if (slopeOf(points) * heap.reconnects <= heap.maxGrowthBytes) unnoticed.push('a client that keeps an SDK client per reconnect');
    return unnoticed;
  } finally {
    await endWorlds(worlds);
    ledger.stop();
  }
}

async function isNoticed({ config, make, isFound }: Mutant, world: World, ledger: Ledger, book: CallBook): Promise<boolean> {
  const from = book.size;
  for (let storms = 1; storms <= MAX_STORMS; storms += 1) {
    await storm(world, book, {
      seed: 7919 * storms,
      faults: FAULTS,
      callsPerFault: CALLS_PER_FAULT,
      only: ['cut', 'deafness'],
      patienceMs: PATIENCE_MS,
      ...(config === undefined ? {} : { config }),
      ...(make === undefined ? {} : { make }),
    });
    if (isFound(book.judge(await ledger.audit({ ambiguous: book.ambiguous }), from))) return true;
  }
  return false;
}
