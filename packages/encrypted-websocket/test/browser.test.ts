import { readFileSync } from 'node:fs';
import { builtinModules } from 'node:module';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { ManualClock, settle } from '@mcp-blocks/core/testing';
import { Client } from '@modelcontextprotocol/client';
import { Client as V1Client } from '@modelcontextprotocol/sdk/client/index.js';
import { build } from 'vite';
import { describe, expect, it } from 'vitest';
import { type WebSocket, WebSocketServer } from 'ws';
import * as browser from '../src/browser.js';
import * as node from '../src/index.js';
import { cleanup, deferred, listening, modernRequest, testHost, toolService, until } from './support.js';

// Runs the browser's class on Node's own global WebSocket, which follows the same standard.
const { WebSocketClientTransport } = browser;

function open(url: string, options: browser.WebSocketClientOptions = {}) {
  const transport = new WebSocketClientTransport(url, { token: 'alice-token', ...options });
  cleanup(() => transport.close());
  const closed = deferred();
  const errors: Error[] = [];
  const received: unknown[] = [];
  transport.onclose = () => closed.resolve();
  transport.onerror = (error) => errors.push(error);
  transport.onmessage = (message) => received.push(message);
  return { transport, closed: closed.promise, errors, received };
}

async function rawServer(onConnection: (socket: WebSocket) => void, protocol = 'mcp') {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1', handleProtocols: () => protocol });
  cleanup(async () => {
    for (const client of server.clients) client.terminate();
    await new Promise((resolve) => server.close(resolve));
  });
  server.on('connection', onConnection);
  await new Promise((resolve) => server.once('listening', resolve));
  return `ws://127.0.0.1:${(server.address() as { port: number }).port}/ws`;
}

describe.each(['auto', 'legacy'] as const)("the browser's end with an SDK v2 client in mode %s", (mode) => {
  it('presents its token, calls tools, sees progress and cancels', async () => {
    const tools = toolService();
    const { url } = await listening(testHost({ service: tools.service }));
    const client = new Client({ name: 'page', version: '1' }, { versionNegotiation: { mode } });
    cleanup(() => client.close());
    await client.connect(new WebSocketClientTransport(url, { token: 'alice-token' }));
    const result = await client.callTool({ name: 'echo', arguments: { a: 1 } });
    expect(JSON.stringify(result.content)).toContain('alice websocket');
    const seen: number[] = [];
    await client.callTool({ name: 'progress' }, { onprogress: ({ progress }) => seen.push(progress) });
    expect(seen).toEqual([1, 2]);
    const abort = new AbortController();
    const call = client.callTool({ name: 'hold' }, { signal: abort.signal });
    await tools.started;
    abort.abort('enough');
    await expect(call).rejects.toThrow('enough');
    await tools.aborted;
  });
});

it('serves an SDK v1 client', async () => {
  const { url } = await listening();
  const client = new V1Client({ name: 'page', version: '1' });
  cleanup(() => client.close());
  await client.connect(new WebSocketClientTransport(url, { token: async () => 'bob-token' }) as never);
  expect(JSON.stringify(await client.callTool({ name: 'echo', arguments: {} }))).toContain('bob websocket 2025-11-25');
});

describe("the browser's end", () => {
  it('tells what is true of the connection, and counts', async () => {
    const { url } = await listening();
    const { transport, received, closed } = open(url);
    expect(transport.getSessionInfo()).toBeUndefined();
    await transport.start();
    expect(transport.getSessionInfo()).toEqual({ sessionId: undefined, secure: false, protocol: 'mcp' });
    const text = modernRequest(1, 'tools/call', { name: 'echo', arguments: { text: 'häß€😀' } });
    await transport.send(JSON.parse(text));
    await until(() => received.length === 1);
    expect(transport.metrics()).toEqual({
      messagesIn: 1,
      messagesOut: 1,
      bytesIn: Buffer.byteLength(JSON.stringify(received[0])),
      bytesOut: Buffer.byteLength(text),
      encryptMs: 0,
      decryptMs: 0,
      encryptErrors: 0,
      decryptErrors: 0,
      keyRotations: 0,
    });
    await transport.close();
    await closed;
    expect([transport.closeCode, transport.closeError, transport.getSessionInfo()]).toEqual([1000, undefined, undefined]);
  });

  it.each([
    ['a refused token', () => listening().then(({ url }) => url), { token: 'stranger-token' }],
    ['a server that speaks something else', () => rawServer(() => {}, 'mcp.other'), {}],
    ['nobody', async () => 'ws://127.0.0.1:1/ws', {}],
  ])('rejects start with unavailable on %s', async (_name, url, options) => {
    const { transport } = open(await url(), options);
    await expect(transport.start()).rejects.toMatchObject({ name: 'RpcError', code: 'unavailable' });
  });

  it.each(['a b', 'a\r\nb', 'tökén', ''])('does not send the token %j', async (token) => {
    const { url } = await listening();
    await expect(open(url, { token }).transport.start()).rejects.toMatchObject({ code: 'unavailable' });
  });

  it('gives up when the handshake takes too long', async () => {
    const clock = new ManualClock();
    const host = testHost({ authenticate: () => new Promise(() => {}) });
    const { url } = await listening(host);
    const { transport } = open(url, { clock, handshakeTimeoutMs: 2_000 });
    const started = expect(transport.start()).rejects.toMatchObject({ code: 'unavailable', message: expect.stringContaining('too long') });
    await settle();
    await clock.advance(2_000);
    await started;
    expect(clock.pendingTimers).toBe(0);
  });

  it('closes on a message over its limit, and says 1009 to its owner', async () => {
    const { transport, closed, errors } = open(await rawServer((socket) => socket.send('x'.repeat(1_001))), { maxMessageBytes: 1_000 });
    await transport.start();
    await closed;
    expect(transport.closeCode).toBe(1009);
    expect(errors.at(-1)).toMatchObject({ code: 'payload_too_large' });
  });

  it('closes on a binary frame', async () => {
    const { transport, closed } = open(await rawServer((socket) => socket.send(Buffer.from([1]))));
    await transport.start();
    await closed;
    expect(transport.closeCode).toBe(1003);
  });

  it('tells how the server closed', async () => {
    const { transport, closed } = open(await rawServer((socket) => socket.close(4401, 'token expired')));
    await transport.start();
    await closed;
    expect(transport).toMatchObject({ closeCode: 4401, closeReason: 'token expired', closeError: { code: 'unauthenticated' } });
  });

  it('holds back what is sent while the server does not read', async () => {
    const server = deferred<WebSocket>();
    const url = await rawServer((socket) => {
      socket.pause();
      server.resolve(socket);
    });
    const { transport } = open(url, { maxBufferedBytes: 1_024 });
    await transport.start();
    let sent = false;
    const sending = transport.send({ jsonrpc: '2.0', id: 1, method: 'x', params: { pad: 'x'.repeat(16 * 1024 * 1024) } }).then(() => {
      sent = true;
    });
    for (let turn = 0; turn < 50; turn += 1) await settle();
    expect(sent).toBe(false);
    (await server.promise).resume();
    await sending;
  });

  it('is cut when the server does not answer its goodbye', async () => {
    const clock = new ManualClock();
    const { transport } = open(await rawServer((socket) => socket.pause()), { clock });
    await transport.start();
    const closing = transport.close();
    await clock.advance(5_000);
    await closing;
    expect(clock.pendingTimers).toBe(0);
  });
});

it('offers what the Node entry offers, less the server', () => {
  expect(Object.keys(browser).filter((name) => !(name in node))).toEqual([]);
  expect(Object.keys(node).filter((name) => !(name in browser))).toEqual(['encryptedWebSocket']);
});

describe('a bundle for browsers', () => {
  async function bundle(from: string, minify = false) {
    const imports: string[] = [];
    const entry = '\0entry';
    const output = await build({
      configFile: false,
      root: fileURLToPath(new URL('..', import.meta.url)),
      logLevel: 'silent',
      resolve: { conditions: ['@mcp-blocks/source', 'browser', 'import', 'default'] },
      plugins: [
        {
          name: 'entry',
          enforce: 'pre',
          resolveId(id) {
            if (id === 'entry') return entry;
            imports.push(id);
            return undefined;
          },
          load: (id) => (id === entry ? `export { WebSocketClientTransport } from '${from}';` : undefined),
        },
      ],
      build: { write: false, minify, rolldownOptions: { input: 'entry', preserveEntrySignatures: 'strict' } },
    });
    const code = [output].flat().flatMap((one) => ('output' in one ? one.output.map((part) => ('code' in part ? part.code : '')) : []));
    return { imports, code: code.join('\n') };
  }

  const foreign = (id: string) => id === 'ws' || id.startsWith('node:') || builtinModules.includes(id);

  it.each(['@mcp-blocks/encrypted-websocket', '@mcp-blocks/encrypted-websocket/browser'])(
    'of %s holds the transport, and neither ws nor a builtin of Node',
    async (from) => {
      const { imports, code } = await bundle(from);
      expect(imports.filter(foreign)).toEqual([]);
      expect(code).toMatch(/WebSocketClientTransport = class|class WebSocketClientTransport/);
      expect(code).not.toMatch(/\bBuffer\.(from|alloc)|\bprocess\.|require\(/);
    },
  );

  it('is as small as the README says, Noise included', async () => {
    const { code } = await bundle('@mcp-blocks/encrypted-websocket', true);
    const [, kilobytes] = /bundle of (\d+) kB with gzip/.exec(readFileSync(new URL('../README.md', import.meta.url), 'utf8')) ?? [];
    expect(gzipSync(code).length / 1_000).toBeLessThan(Number(kilobytes));
  });

  it('would be caught if it were one for Node', async () => {
    const { imports } = await bundle(fileURLToPath(new URL('../src/index.ts', import.meta.url)));
    expect(imports.filter(foreign)).toEqual(expect.arrayContaining(['ws', 'node:tls']));
  });
});
