import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import tls from 'node:tls';
import type { Listener, ProtocolEra } from '@mcp-blocks/core';
import { type ManualClock, type TransportHarness, type TransportLink, TransportRelay } from '@mcp-blocks/core/testing';
import {
  type EncryptedWebSocketOptions,
  encryptedWebSocket,
  generateNoiseKeys,
  type WebSocketClientOptions,
  WebSocketClientTransport,
} from '@mcp-blocks/encrypted-websocket';
import { http, unixSocket } from '@mcp-blocks/secure-mcp-server';
import { StreamableHTTPClientTransport, type Transport } from '@modelcontextprotocol/client';
import { StreamableHTTPClientTransport as V1HttpTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import type { ClientName } from './transports-clients.ts';
import { LineClientTransport } from './transports-line-client.ts';
import { MemoryListener } from './transports-memory.ts';

/** One end of a connection for a client, and the wire it is on. */
export interface Dialled {
  readonly transport: Transport;
  readonly link: TransportLink;
  close?(): Promise<void>;
}

/** A listener, and how clients reach it. */
export interface OpenWire {
  readonly listener: Listener;
  dial(client: ClientName): Promise<Dialled>;
  close?(): Promise<void>;
}

/** What a wire can do. Where it depends on the era or the client, `lacksWith` adds to it. */
export interface Wire {
  readonly name: string;
  readonly traits: Omit<TransportHarness, 'era' | 'serve'>;
  lacksWith?(era: ProtocolEra, client: ClientName): NonNullable<TransportHarness['lacks']>;
  open(clock: ManualClock): Promise<OpenWire>;
}

const certificate = (name: string) =>
  readFileSync(new URL(`../../../packages/encrypted-websocket/test/fixtures/test-only-${name}`, import.meta.url));
const CA = certificate('ca.pem');
const SERVER_TLS = { key: certificate('server.key'), cert: certificate('server.pem') };

const NO_RESUMPTION = 'an answer belongs to its connection; what may be repeated is up to the client';
const MIB = 1024 * 1024;

const memory: Wire = {
  name: 'in memory',
  traits: {
    lacks: {
      'size limit': 'messages are objects, with no bytes to count',
      'slow readers wait': 'delivery is a function call: nothing waits to be read',
      'slow readers are cut': 'delivery is a function call: nothing waits to be read',
      'server liveness': 'both ends are in one process',
      'client liveness': 'both ends are in one process',
      resumption: NO_RESUMPTION,
    },
  },
  async open() {
    const listener = new MemoryListener();
    return { listener, dial: async () => listener.connect() };
  },
};

function httpWire(secure: boolean): Wire {
  const noHeartbeat = 'HTTP has no heartbeat; deadlines end what a silent peer leaves open';
  return {
    name: secure ? 'HTTPS' : 'HTTP',
    traits: {
      lacks: {
        'slow readers wait': "the SDK's streams do not wait for their reader; one that leaves too much is cut",
        'server liveness': noHeartbeat,
        'client liveness': noHeartbeat,
      },
    },
    lacksWith(era, client) {
      if (era === 'modern') {
        return {
          resumption: '2026-07-28 has no resumption',
          ...(client === 'SDK v2'
            ? { 'loss settles': "the SDK's client does not settle a request whose stream ends without an answer; its timeout does" }
            : {}),
        };
      }
      const noCancellation = 'in 2025-11-25 a disconnect is no cancellation: the call goes on, and its answer can be fetched';
      return {
        'loss aborts': noCancellation,
        'loss settles': noCancellation,
        'slow readers are cut': 'the stream is cut and the call goes on; what was missed is kept, up to replayBufferBytes, to be fetched',
        'explicit subscriptions': 'in 2025-11-25 changes come unasked',
      };
    },
    async open() {
      if (secure) trust(CA);
      const listener = http({ port: 0, maxBufferedBytes: MIB, ...(secure ? { tls: SERVER_TLS } : {}) });
      return {
        listener,
        async dial(client) {
          const relay = await TransportRelay.open({ port: Number(new URL(listener.endpoint as string).port) });
          const url = new URL(`${secure ? 'https' : 'http'}://127.0.0.1:${relay.port}/mcp`);
          const Http = client === 'SDK v1' ? V1HttpTransport : StreamableHTTPClientTransport;
          return { transport: new Http(url) as Transport, link: relay, close: () => relay.close() };
        },
      };
    },
  };
}

/** Lets `fetch` trust the authority of the test's certificates. */
function trust(ca: Buffer): void {
  const known = tls.getCACertificates('default');
  if (!known.includes(ca.toString())) tls.setDefaultCACertificates([...known, ca.toString()]);
}

function webSocketWire(name: string, server: EncryptedWebSocketOptions, client: WebSocketClientOptions): Wire {
  return {
    name,
    traits: {
      lacks: { resumption: NO_RESUMPTION },
      // heartbeatIntervalMs + heartbeatTimeoutMs
      livenessMs: 40_000,
      // slowReaderTimeoutMs, and 5 s for the goodbye
      slowReaderTimeoutMs: 35_000,
    },
    async open(clock) {
      const listener = encryptedWebSocket({ port: 0, ...server });
      return {
        listener,
        async dial() {
          const { protocol, port } = new URL(listener.endpoint as string);
          const relay = await TransportRelay.open({ port: Number(port) });
          const transport = new WebSocketClientTransport(`${protocol}//127.0.0.1:${relay.port}/ws`, { clock, ...client });
          return { transport, link: relay, close: () => relay.close() };
        },
      };
    },
  };
}

const serverKeys = generateNoiseKeys();
const clientKeys = generateNoiseKeys();

function noiseWire(pattern: 'NK' | 'IK' | 'XX'): Wire {
  const protocol = `Noise_${pattern}_25519_AESGCM_SHA256` as const;
  return webSocketWire(
    `Noise ${pattern}`,
    { noise: { protocols: [protocol], privateKey: serverKeys.privateKey } },
    {
      noise: {
        protocol,
        serverPublicKey: serverKeys.publicKey,
        ...(pattern === 'NK' ? {} : { privateKey: clientKeys.privateKey }),
      },
    },
  );
}

const noAnswer = 'a message that is not read has no id; the answer has id null, which no client can tell a caller of';
const kernel = 'there is no heartbeat: the kernel reports the end of a peer on the same machine';

/** What newline-delimited JSON does not do, over a Unix socket or stdio. */
const LINE_LACKS = {
  'size errors': noAnswer,
  'slow readers are cut': 'a peer on the same machine is waited for',
  'server liveness': kernel,
  'client liveness': kernel,
  resumption: NO_RESUMPTION,
};

/** What stdio does beside that. */
export const STDIO_TRAITS: Wire['traits'] = {
  lacks: {
    ...LINE_LACKS,
    'several clients': 'a process has one standard input',
    turns: "the SDK's stdio transport hands on all it has read in one turn, and its client drops progress that comes with the result",
  },
};

const unix: Wire = {
  name: 'Unix socket',
  traits: { lacks: LINE_LACKS },
  async open() {
    const folder = await mkdtemp(join(tmpdir(), 'mcp-blocks-transports-'));
    const listener = unixSocket({ path: join(folder, 'server') });
    let dialled = 0;
    return {
      listener,
      async dial() {
        const path = join(folder, `relay-${dialled++}`);
        const relay = await TransportRelay.open({ path: join(folder, 'server') }, { path });
        return { transport: new LineClientTransport(path), link: relay, close: () => relay.close() };
      },
      close: () => rm(folder, { recursive: true, force: true }),
    };
  },
};

/** Every wire but stdio, whose server is a process. */
export const WIRES: readonly Wire[] = [
  memory,
  httpWire(false),
  httpWire(true),
  webSocketWire('WS', {}, {}),
  webSocketWire('WSS', { tls: SERVER_TLS }, { tls: { ca: CA } }),
  noiseWire('NK'),
  noiseWire('IK'),
  noiseWire('XX'),
  unix,
];
