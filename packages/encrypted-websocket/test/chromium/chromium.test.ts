import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { type RpcHandler, type RpcService, ServiceEventEmitter } from '@mcp-blocks/core';
import { testPrincipal } from '@mcp-blocks/core/testing';
import { clientKeys as byClientKey, SecureMCPServer } from '@mcp-blocks/secure-mcp-server';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { encryptedWebSocket, generateNoiseKeys, type NoiseListenerOptions, noisePublicKey } from '../../src/index.js';
import { EVERY } from '../noise-support.js';
import { cleanup } from '../support.js';
import { bundle, startBrowser, type TestBrowser } from './browser.js';
import type { PageGlobal, PageOptions } from './page.js';
import { type Captured, startTap, type Tap } from './tap.js';
import { PROXIES, startTlsProxy } from './tls-proxies.js';

const read = (path: string) => readFileSync(new URL(path, import.meta.url), 'utf8');

const privateKey = read('../fixtures/test-only-noise-server.key').trim();
const serverPublicKey = noisePublicKey(privateKey);
const pageKeys = generateNoiseKeys();

const TOOLS = ['confidential_echo', 'confidential_large', 'confidential_progress', 'confidential_change'];
const TOKEN = 'plain-text-of-the-token';
const ARGUMENT = 'plain text of an argument';
const RESULT = 'plain text of a result';
const LARGE = 'plain text of a large result, '.repeat(1_048_576 / 32).padEnd(1_048_576, '.');

/** What only the two ends may see. */
const SECRETS = [TOKEN, ARGUMENT, RESULT, LARGE.slice(0, 30), 'for ada', ...TOOLS, 'tools/call', 'notifications/progress', 'jsonrpc'];

/** Those that can be read in what was captured, whatever usual spelling they are in. */
function readable({ raw, payloads }: Captured): string[] {
  const text = raw.toString('latin1') + payloads.toString('latin1');
  const spellings = (secret: string) =>
    (['latin1', 'base64', 'base64url', 'hex', 'utf16le'] as const).map((encoding) =>
      encoding === 'utf16le' ? Buffer.from(secret, encoding).toString('latin1') : Buffer.from(secret).toString(encoding).replace(/=+$/, ''),
    );
  return SECRETS.filter((secret) => spellings(secret).some((spelling) => text.includes(spelling)));
}

const service = (): RpcService => {
  const events = new ServiceEventEmitter();
  const handler: RpcHandler = async ({ method, params }, { principal, notify }) => {
    if (method === 'tools/list') return { tools: TOOLS.map((name) => ({ name, inputSchema: { type: 'object' } })) };
    const text = (value: string) => ({ content: [{ type: 'text', text: value }] });
    switch (params.name) {
      case 'confidential_large':
        return text(LARGE);
      case 'confidential_progress': {
        const { progressToken } = params._meta as { progressToken: number };
        for (const progress of [1, 2, 3]) await notify('notifications/progress', { progressToken, progress, message: RESULT });
        return text('done');
      }
      case 'confidential_change':
        events.publish({ kind: 'tools_list_changed' });
        return text('changed');
      default:
        return text(`${RESULT} for ${principal.id}: ${JSON.stringify(params.arguments)}`);
    }
  };
  return { info: { name: 'vault', version: '1.0.0', capabilities: { tools: { listChanged: true } } }, handler, events };
};

async function startServer(noise?: NoiseListenerOptions) {
  const server = new SecureMCPServer({
    service: service(),
    authenticators: [
      {
        name: 'token',
        authenticate: async ({ header }) => (header('authorization') === `Bearer ${TOKEN}` ? testPrincipal({ id: 'ada' }) : undefined),
      },
      byClientKey({ keys: [{ id: 'ada', publicKey: pageKeys.publicKey }] }),
    ],
    listeners: [encryptedWebSocket({ port: 0, allowedHosts: ['mcp.example'], allowedOrigins: ['app.example'], ...(noise && { noise }) })],
  });
  await server.start();
  cleanup(() => server.stop());
  return { server, port: Number(new URL(String(server.endpoints[0])).port) };
}

type Way = [name: string, options: PageOptions];

const WAYS: readonly Way[] = [
  ['NK and its token', { mode: 'auto', token: TOKEN, noise: { protocol: 'Noise_NK_25519_ChaChaPoly_SHA256', serverPublicKey } }],
  [
    'NK and its token, in the legacy era',
    { mode: 'legacy', token: TOKEN, noise: { protocol: 'Noise_NK_25519_AESGCM_SHA256', serverPublicKey } },
  ],
  [
    'IK and a key of its own',
    { mode: 'auto', noise: { protocol: 'Noise_IK_25519_AESGCM_SHA256', serverPublicKey, privateKey: pageKeys.privateKey } },
  ],
  [
    'XX, a key of its own and its token',
    {
      mode: 'auto',
      token: TOKEN,
      noise: { protocol: 'Noise_XX_25519_ChaChaPoly_SHA256', privateKey: pageKeys.privateKey },
      acceptedKey: serverPublicKey,
    },
  ],
];

/** Does in the page what a client does, and checks what the page got. */
async function exercise(browser: TestBrowser, script: string, options: PageOptions) {
  const { page, errors } = await browser.open({ body: '<script type="module" src="/page.js"></script>', script });
  await page.evaluate(async (given) => {
    const own = globalThis as unknown as PageGlobal;
    own.connection = await own.connect('wss://mcp.example/ws', given);
  }, options);
  const report = await page.evaluate(async (argument) => {
    const { connection } = globalThis as unknown as PageGlobal;
    const before = connection.session();
    return {
      before,
      tools: await connection.tools(),
      echo: await connection.call('confidential_echo', { argument }),
      large: await connection.call('confidential_large', {}),
      progress: await connection.progressOf('confidential_progress'),
      changes: await connection.changesAfter('confidential_change'),
      many: await Promise.all(Array.from({ length: 50 }, (_, n) => connection.call('confidential_echo', { n }))),
      after: connection.session(),
    };
  }, ARGUMENT);
  expect(report).toMatchObject({
    tools: TOOLS,
    echo: `${RESULT} for ada: {"argument":"${ARGUMENT}"}`,
    progress: [1, 2, 3],
    changes: 1,
    many: Array.from({ length: 50 }, (_, n) => `${RESULT} for ada: {"n":${n}}`),
  });
  expect(report.large === LARGE).toBe(true);
  expect(errors).toEqual([]);
  const ended = () => page.evaluate(() => (globalThis as unknown as PageGlobal).connection.ended());
  return { before: report.before, after: report.after, ended };
}

describe.each(PROXIES)('a page in Chromium, its server behind %s that ends TLS,', { timeout: 60_000 }, (proxy) => {
  let tap: Tap;
  let browser: TestBrowser;
  let script: string;
  const closing: (() => Promise<void>)[] = [];

  beforeAll(async () => {
    tap = await startTap();
    closing.push(tap.close);
    const program = await startTlsProxy(proxy, tap.port);
    closing.push(program.stop);
    browser = await startBrowser(program.ports[0]);
    closing.push(browser.close);
    script = await bundle(fileURLToPath(new URL('./page.ts', import.meta.url)));
  });

  afterAll(async () => {
    for (const close of closing.reverse()) await close();
  });

  it.each(WAYS)('works inside Noise with %s, and the proxy reads nothing of it', async (_way, options) => {
    const { server, port } = await startServer({ protocols: EVERY, privateKey, rekeyAfterMessages: 10 });
    tap.connectTo(port);
    const noise = { ...options.noise!, rekeyAfterMessages: 5 };
    const { before, after, ended } = await exercise(browser, script, { ...options, noise });
    expect(before).toMatchObject({ secure: true, algorithm: noise.protocol, peerKey: serverPublicKey, keyRotations: 0 });
    // The 50 calls alone are ten times what the page may send under one key, and five times what the server may.
    expect(after.keyRotations).toBeGreaterThanOrEqual(15);
    expect(after.keyId).not.toBe(before.keyId);

    await server.drain(5_000);
    expect(await ended()).toEqual({ code: 1001, error: 'unavailable' });

    const captured = tap.captured();
    expect(readable(captured)).toEqual([]);
    // It was this connection, and all of it.
    expect(captured.heads).toMatch(new RegExp(`^sec-websocket-protocol: mcp\\.${noise.protocol}\r$`, 'im'));
    expect(captured.payloads.length).toBeGreaterThan(LARGE.length);
  });

  it('works without Noise, its token a subprotocol, and the proxy reads everything', async () => {
    const { server, port } = await startServer();
    tap.connectTo(port);
    const { after, ended } = await exercise(browser, script, { mode: 'auto', token: TOKEN });
    expect(after).toMatchObject({ secure: true, protocol: 'mcp', keyRotations: 0 });
    await server.drain(5_000);
    expect(await ended()).toEqual({ code: 1001, error: 'unavailable' });
    expect(readable(tap.captured())).toEqual(SECRETS);
  });

  it("is the README's, which a user sees work", async () => {
    const [readme, body, source] = [read('../../README.md'), read('../readme/page.html'), read('../readme/page.ts')];
    expect(readme).toContain(`\`\`\`html\n${body}\`\`\``);
    expect(readme).toContain(`\`\`\`ts\n${source}\`\`\``);

    const { server, port } = await startServer({ protocols: ['Noise_NK_25519_ChaChaPoly_SHA256'], privateKey });
    tap.connectTo(port);
    const sample = fileURLToPath(new URL('../readme/page.ts', import.meta.url));
    const { page, errors } = await browser.open({ body, script: await bundle(sample) });
    const shows = (text: string) => page.locator('output', { hasText: text }).waitFor();
    const connectWith = async (token: string) => {
      await page.getByPlaceholder('Token').fill(token);
      await page.getByRole('button', { name: 'Connect' }).click();
    };
    await connectWith('another');
    await shows('credential');
    await connectWith(TOKEN);
    await shows('Connected by Noise_NK_25519_ChaChaPoly_SHA256');
    await page.getByRole('button', { name: 'confidential_echo' }).click();
    await shows(`${RESULT} for ada: {}`);
    await server.drain(5_000);
    await shows('the server is shutting down');
    expect(errors).toEqual([]);
    expect(readable(tap.captured())).toEqual([]);
  });
});
