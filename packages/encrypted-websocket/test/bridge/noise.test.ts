import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import { clientKeys, SecureMCPServer } from '@mcp-blocks/secure-mcp-server';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runCommand } from '../../src/bridge/command.js';
import { encryptedWebSocket } from '../../src/index.js';
import { manInTheMiddle } from '../man-in-the-middle.js';
import { EVERY, PATTERNS } from '../noise-support.js';
import { authenticateByToken, cleanup } from '../support.js';
import { bridgedService, connectThroughBridge, INITIALIZE, INITIALIZED, spawnBridge, spawnCli } from './support.js';

const folder = mkdtempSync(join(tmpdir(), 'bridge-noise-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** A key pair of `keygen`, which writes the private key to a file and the public one to stdout, here into another. */
async function keygen(name: string) {
  const [privateFile, publicFile] = [join(folder, `${name}.key`), join(folder, `${name}.pub`)];
  const { exited, output } = spawnCli(['keygen', privateFile]);
  expect((await exited).code).toBe(0);
  writeFileSync(publicFile, output.stdout);
  return { privateFile, publicFile, publicKey: output.stdout.trim(), privateKey: readFileSync(privateFile, 'utf8').trim() };
}

let server: Awaited<ReturnType<typeof keygen>>;
let client: typeof server;
let stranger: typeof server;

beforeAll(async () => {
  [server, client, stranger] = await Promise.all([keygen('server'), keygen('client'), keygen('stranger')]);
});

async function start(port = 0) {
  const running = new SecureMCPServer({
    service: bridgedService().service,
    authenticators: [
      {
        name: 'token',
        authenticate: async (request) => (request.header('authorization') === undefined ? undefined : await authenticateByToken(request)),
      },
      clientKeys({ keys: [{ id: 'laptop', publicKey: client.publicKey }] }),
    ],
    listeners: [encryptedWebSocket({ port, noise: { protocols: EVERY, privateKey: server.privateKey } })],
    onError: () => {},
  });
  await running.start();
  cleanup(() => running.stop());
  return { running, url: String(running.endpoints[0]) };
}

const echo = { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'echo', arguments: { said: 'plain text' } } };

describe('a bridge with --noise', () => {
  it.each([...PATTERNS.map((pattern) => [pattern, 'AESGCM'] as const), ['IK', 'ChaChaPoly'] as const])(
    '%s, %s: the host notices nothing, and a proxy reads nothing',
    async (pattern, cipher) => {
      const { url, captured } = await manInTheMiddle((await start()).url);
      const own = pattern === 'NK' ? [] : ['--client-key-file', client.privateFile];
      const options = ['--noise', pattern, '--noise-cipher', cipher, '--server-key', server.publicFile, ...own];
      const host = await connectThroughBridge('auto', url, ...options);
      const result = await host.client.callTool({ name: 'echo', arguments: { said: 'plain text' } });
      expect(result.content).toEqual([{ type: 'text', text: 'alice 2026-07-28 {"said":"plain text"}' }]);
      await host.client.close();
      expect(host.logged).toEqual([]);
      expect(captured()).toContain(`mcp.Noise_${pattern}_25519_${cipher}_SHA256`);
      expect(captured()).not.toMatch(/alice|plain text|echo|jsonrpc|YWxpY2Ut/);
    },
  );

  it('is known by its key alone, uses AESGCM unless told otherwise, and takes the key of the server as it is', async () => {
    const { url, captured } = await manInTheMiddle((await start()).url);
    const args = ['--noise', 'IK', '--server-key', server.publicKey, '--client-key-file', client.privateFile];
    const bridge = spawnCli(['bridge', url, ...args]);
    bridge.write(INITIALIZE, INITIALIZED, echo);
    bridge.end();
    expect(await bridge.exited).toEqual({ code: 0, signal: null });
    expect(bridge.lines().at(-1)).toMatchObject({ id: 1, result: { content: [{ text: 'laptop 2025-11-25 {"said":"plain text"}' }] } });
    expect(captured()).toContain('mcp.Noise_IK_25519_AESGCM_SHA256');
  });

  it('connects again when the server is back', async () => {
    const first = await start();
    const bridge = spawnBridge(first.url, '--noise', 'NK', '--server-key', server.publicKey);
    bridge.write(INITIALIZE, INITIALIZED);
    await bridge.answer('init');
    await first.running.stop();
    bridge.write({ jsonrpc: '2.0', id: 1, method: 'tools/list' });
    await start(Number(new URL(first.url).port));
    expect(await bridge.answer(1)).toMatchObject({ result: { tools: expect.anything() } });
  });

  it('exits with 1 where the server has another key, and tells it nothing', async () => {
    const { url, captured } = await manInTheMiddle((await start()).url);
    // NK: a server that is known by a key it does not have.
    const bridge = spawnBridge(url, '--noise', 'NK', '--server-key', client.publicKey);
    bridge.write(INITIALIZE);
    expect(await bridge.exited).toEqual({ code: 1, signal: null });
    expect(bridge.lines()).toMatchObject([{ id: 'init', error: { code: 403 } }]);
    expect(captured()).not.toMatch(/alice|YWxpY2Ut/);
  });

  it('exits with 1 where its own key is not known, without telling it', async () => {
    const { url } = await start();
    const args = ['--noise', 'XK', '--server-key', server.publicKey, '--client-key-file', stranger.privateFile, '--verbose'];
    const bridge = spawnCli(['bridge', url, ...args]);
    bridge.write(INITIALIZE);
    expect(await bridge.exited).toEqual({ code: 1, signal: null });
    expect(bridge.lines()).toMatchObject([{ id: 'init', error: { code: 401 } }]);
    expect(bridge.output.stderr).not.toContain(stranger.privateKey);
  });

  it('exits with 1 where the server wants Noise and the bridge was not told', async () => {
    const { url } = await start();
    const bridge = spawnBridge(url, '--connect-timeout', '500');
    bridge.write(INITIALIZE);
    expect(await bridge.exited).toEqual({ code: 1, signal: null });
    expect(bridge.output.stderr).toContain('400');
  });

  it.each<[what: string, options: (files: { good: string; bad: string }) => string[], why: RegExp]>([
    ['no file', () => ['NK', '--server-key', '/nowhere'], /--server-key: is neither a key nor a file that can be read \(ENOENT\)/],
    ['a file without a key', ({ bad }) => ['NK', '--server-key', bad], /--server-key: expected a Curve25519 key/],
    ['no key', () => ['NK', '--server-key', `${'A'.repeat(42)}B`], /--server-key: expected a Curve25519 key/],
    ['a point of low order', () => ['NK', '--server-key', 'A'.repeat(43)], /serverPublicKey: .*low order/],
    [
      'no file of its own',
      ({ good }) => ['IK', '--server-key', good, '--client-key-file', '/nowhere'],
      /--client-key-file: the file cannot be read \(ENOENT\)/,
    ],
    [
      'a file of its own without a key',
      ({ good, bad }) => ['IK', '--server-key', good, '--client-key-file', bad],
      /--client-key-file: expected a Curve25519 key/,
    ],
  ])('exits with 2 for %s, and shows nothing of it', async (_what, options, why) => {
    const bad = join(folder, 'bad');
    writeFileSync(bad, 's3cret');
    const args = ['bridge', 'wss://127.0.0.1/', '--noise', ...options({ good: server.publicFile, bad })];
    const [stdin, stdout, stderr] = [new PassThrough(), new PassThrough(), new PassThrough()];
    expect(await runCommand(args, { stdin, stdout, stderr, env: {}, ended: new AbortController().signal })).toBe(2);
    const said = await text(stderr.end());
    expect(said).toMatch(why);
    expect(said).not.toContain('s3cret');
  });
});
