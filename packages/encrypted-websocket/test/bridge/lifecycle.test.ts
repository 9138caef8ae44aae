import { once } from 'node:events';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer as createHttpServer } from 'node:http';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { noisePublicKeyOf } from '../../src/noise/index.js';
import { nodeCrypto } from '../../src/noise/node-crypto.js';
import { cleanup, modernRequest, until } from '../support.js';
import { bridgedService, CA_FILE, INITIALIZE, INITIALIZED, spawnBridge, spawnCli, startServer } from './support.js';

const call = (id: number, name: string, values: object = {}) => ({
  jsonrpc: '2.0',
  id,
  method: 'tools/call',
  params: { name, arguments: values },
});

/** A bridge whose host has shaken hands. */
async function started(scheme: 'ws' | 'http', ...more: string[]) {
  const bridged = bridgedService();
  const { url } = await startServer(scheme, bridged.service);
  const bridge = spawnBridge(url, ...more);
  bridge.write(INITIALIZE, INITIALIZED);
  await bridge.answer('init');
  return { bridge, bridged, url };
}

async function folder(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'bridge-'));
  cleanup(() => rm(path, { recursive: true }));
  return path;
}

/** A port nobody listens on. */
async function deadPort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

it('a host that reads nothing and does not go away is not waited for', async () => {
  const { bridge } = await started('ws');
  bridge.child.stdout?.pause();
  bridge.write(...Array.from({ length: 8 }, (_, n) => call(n, 'echo', { large: 'x'.repeat(500_000) })));
  await until(() => (bridge.child.stdout?.readableLength ?? 0) > 0);
  bridge.child.kill('SIGTERM');
  // Not `close`, which waits for the end of stdout.
  await once(bridge.child, 'exit');
  expect(bridge.child.exitCode).toBe(0);
  bridge.child.stdout?.resume();
});

it('what a server says cannot command the terminal', async () => {
  const tools = [{ name: 'a\u001b[2J\u009b2J\u202e', inputSchema: { type: 'object', 'x-mcp-header': 'At-The-Root' } }];
  const server = createHttpServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += String(chunk);
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ jsonrpc: '2.0', id: JSON.parse(body).id, result: { tools } }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  cleanup(async () => void server.close().closeAllConnections());
  const bridge = spawnBridge(`http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`);
  bridge.write(JSON.parse(modernRequest(1, 'tools/list')));
  await bridge.answer(1);
  bridge.end();
  await bridge.exited;
  expect(bridge.output.stderr).toMatch(/Tool .* is left out/);
  expect(bridge.output.stderr.replaceAll('\n', '')).not.toMatch(/[\p{Cc}\p{Cf}]/u);
});

describe.each(['ws', 'http'] as const)('a bridge to %s', (scheme) => {
  it('answers what is in flight when the host ends its input, and exits with 0', async () => {
    const { bridge, bridged } = await started(scheme);
    bridge.write(call(1, 'hold'));
    await bridged.started;
    bridge.end();
    bridged.release();
    expect(await bridge.exited).toEqual({ code: 0, signal: null });
    expect(bridge.lines().at(-1)).toMatchObject({ id: 1, result: { content: [{ text: 'released' }] } });
    expect(bridge.output.stderr).toBe('');
  });

  it('answers with an error what takes longer than allowed', async () => {
    const { bridge, bridged } = await started(scheme, '--drain-timeout', '50');
    bridge.write(call(1, 'hold'));
    await bridged.started;
    bridge.end();
    expect(await bridge.exited).toEqual({ code: 0, signal: null });
    expect(bridge.lines().at(-1)).toMatchObject({ id: 1, error: { code: 504 } });
    await bridged.aborted;
  });

  it('answers everything of a host that writes and ends at once', async () => {
    const { url } = await startServer(scheme, bridgedService().service);
    const bridge = spawnBridge(url);
    bridge.write(INITIALIZE);
    bridge.end();
    expect(await bridge.exited).toEqual({ code: 0, signal: null });
    expect(bridge.lines()).toMatchObject([{ id: 'init', result: {} }]);
  });

  it.each(['SIGTERM', 'SIGINT', 'SIGHUP'] as const)('ends with 0 on %s, and so do its calls', async (signal) => {
    const { bridge, bridged } = await started(scheme);
    bridge.write(call(1, 'hold'));
    await bridged.started;
    bridge.child.kill(signal);
    expect(await bridge.exited).toEqual({ code: 0, signal: null });
    await bridged.aborted;
  });

  it('ends quietly when the host reads no more', async () => {
    const { bridge } = await started(scheme);
    bridge.child.stdout?.destroy();
    bridge.write(call(1, 'echo'));
    expect(await bridge.exited).toEqual({ code: 0, signal: null });
    expect(bridge.output.stderr).toBe('');
  });

  it('answers lines that are no messages, and goes on', async () => {
    const { bridge } = await started(scheme, '--max-message-bytes', '2000');
    bridge.write('{"jsonrpc":', '[]', '{"jsonrpc":"2.0","id":5}', 'x'.repeat(3_000), '', call(1, 'echo'));
    await bridge.answer(1);
    bridge.end();
    await bridge.exited;
    const errors = bridge.lines().filter((line) => 'error' in line);
    expect(errors).toMatchObject([
      { id: null, error: { code: -32700 } },
      { id: null, error: { code: -32600 } },
      { id: 5, error: { code: -32600 } },
      { id: null, error: { code: 413 } },
    ]);
  });

  it('exits with 1 where the credentials are refused, without telling them', async () => {
    const { url } = await startServer(scheme, bridgedService().service);
    const bridge = spawnCli(['bridge', url, '--token-env', 'WRONG', '--verbose'], { WRONG: 'wrong-s3cret' });
    bridge.write(INITIALIZE);
    expect(await bridge.exited).toEqual({ code: 1, signal: null });
    expect(bridge.lines()).toMatchObject([{ id: 'init', error: { code: 401 } }]);
    expect(bridge.output.stderr).toContain('401');
    expect(bridge.output.stderr + bridge.output.stdout).not.toContain('s3cret');
  });

  it('exits with 1 where nobody answers in time, with an answer to what waits', async () => {
    const bridge = spawnCli(['bridge', `${scheme}://127.0.0.1:${await deadPort()}/`, '--connect-timeout', '300']);
    bridge.write(INITIALIZE);
    expect(await bridge.exited).toEqual({ code: 1, signal: null });
    expect(bridge.lines()).toMatchObject([{ id: 'init', error: { code: 503 } }]);
    expect(bridge.output.stderr).toMatch(/ECONNREFUSED[\s\S]*could not be reached within 300 ms/);
  });

  it('does not outlive a host that ends while nobody answers', async () => {
    const bridge = spawnCli(['bridge', `${scheme}://127.0.0.1:${await deadPort()}/`]);
    bridge.end();
    expect(await bridge.exited).toEqual({ code: 0, signal: null });
  });

  it('sends headers from the environment, and a token from a file', async () => {
    const { url } = await startServer(scheme, bridgedService().service);
    const file = join(await folder(), 'token');
    await writeFile(file, 'alice-token\n');
    for (const how of [
      ['--header', 'X-Api-Key=KEY'],
      ['--token-file', file],
    ]) {
      const bridge = spawnCli(['bridge', url, ...how], { KEY: 'alice-token' });
      bridge.write(INITIALIZE);
      bridge.end();
      expect(await bridge.exited).toEqual({ code: 0, signal: null });
      expect(bridge.lines()).toMatchObject([{ id: 'init', result: {} }]);
    }
  });
});

describe.each(['wss', 'https'] as const)('a bridge to %s', (scheme) => {
  it('trusts only who it is told to, and sends nobody else its token', async () => {
    const { url } = await startServer(scheme, bridgedService().service);
    const unknown = spawnCli(['bridge', url, '--token-env', 'TEST_TOKEN', '--connect-timeout', '500']);
    expect((await unknown.exited).code).toBe(1);
    expect(unknown.output.stderr).toMatch(/UNABLE_TO_VERIFY|SELF_SIGNED/);
    const pin = `sha256/${Buffer.alloc(32).toString('base64')}`;
    const unpinned = spawnCli(['bridge', url, '--token-env', 'TEST_TOKEN', '--ca', CA_FILE, '--pin', pin]);
    expect((await unpinned.exited).code).toBe(1);
    const [, right] = /its key is (sha256\/\S+)/.exec(unpinned.output.stderr) ?? [];
    const pinned = spawnCli(['bridge', url, '--token-env', 'TEST_TOKEN', '--ca', CA_FILE, '--pin', String(right)]);
    pinned.write(INITIALIZE);
    pinned.end();
    expect((await pinned.exited).code).toBe(0);
    expect(pinned.lines()).toMatchObject([{ id: 'init', result: {} }]);
  });
});

describe('the command', () => {
  it.each<[args: string[], text: RegExp]>([
    [['bridge', 'wss://127.0.0.1/', '--token-env', 'UNSET_VARIABLE'], /--token-env: the environment variable is not set/],
    [['bridge', 'wss://127.0.0.1/', '--token-file', '/nowhere'], /--token-file: the file cannot be read \(ENOENT\)/],
    [['bridge', 'wss://127.0.0.1/', '--ca', '/nowhere'], /--ca: the file cannot be read \(ENOENT\)/],
    [['bridge', 'https://127.0.0.1/', '--pin', 'nonsense'], /pin/],
    [['bridge', 'wss://127.0.0.1/', '--pin', 'nonsense'], /pin/],
    [['bridge', 'wss://127.0.0.1/', '--token', 's3cret'], /--token is refused/],
  ])('%j exits with 2 and says why', async (args, text) => {
    const { exited, output } = spawnCli(args);
    expect(await exited).toEqual({ code: 2, signal: null });
    expect(output.stderr).toMatch(text);
    expect(output.stderr).toMatch(/See encrypted-websocket --help/);
    expect(output.stdout).toBe('');
  });

  it('--help and --version', async () => {
    const help = spawnCli(['--help']);
    const version = spawnCli(['--version']);
    expect([(await help.exited).code, (await version.exited).code]).toEqual([0, 0]);
    expect(help.output.stdout).toContain('Usage: encrypted-websocket bridge');
    expect(version.output.stdout).toMatch(/^\d+\.\d+\.\d+/);
  });

  it('keygen writes a private key only its owner can read, once', async () => {
    const file = join(await folder(), 'client.key');
    const first = spawnCli(['keygen', file]);
    expect((await first.exited).code).toBe(0);
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    const privateKey = (await readFile(file, 'utf8')).trim();
    expect(first.output.stdout).toBe(`${noisePublicKeyOf('file', privateKey, nodeCrypto)}\n`);
    const second = spawnCli(['keygen', file]);
    expect((await second.exited).code).toBe(2);
    expect(second.output.stderr).toContain('exists already');
    expect((await readFile(file, 'utf8')).trim()).toBe(privateKey);
  });
});
