import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { ManualClock, settle } from '@mcp-blocks/core/testing';
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { SecureMCPServer, type SecureMCPServerOptions, type UnixSocketOptions, unixSocket } from '../src/index.js';
import { CLIENT_KINDS, type ClientKind, jsonOf, newClient } from './support/clients.js';
import { LineClientTransport } from './support/line-client.js';
import { modernRequest, testService } from './support/server.js';

let folder: string;
let path: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'mcp-blocks-unix-'));
  path = join(folder, 'mcp.sock');
});
afterEach(() => rmSync(folder, { recursive: true }));

async function start(state = testService(), options: Partial<UnixSocketOptions> = {}, serverOptions: Partial<SecureMCPServerOptions> = {}) {
  const server = new SecureMCPServer({
    service: state.service,
    allowAnonymous: true,
    listeners: [unixSocket({ path, ...options })],
    ...serverOptions,
  });
  await server.start();
  onTestFinished(() => server.stop());
  return server;
}

function dial(): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(path, () => resolve(socket));
    socket.on('error', reject);
    onTestFinished(() => void socket.destroy());
  });
}

async function connectClient(kind: ClientKind) {
  const socket = await dial();
  const client = newClient(kind);
  await client.connect(new LineClientTransport(socket, socket) as never);
  onTestFinished(() => client.close());
  return client;
}

/** Reads the next line. */
function reader(socket: Socket): () => Promise<Record<string, unknown>> {
  const lines: string[] = [];
  let wake: () => void = () => {};
  let text = '';
  socket.on('data', (chunk) => {
    text += chunk.toString();
    const parts = text.split('\n');
    text = parts.pop() as string;
    lines.push(...parts);
    wake();
  });
  return async () => {
    while (lines.length === 0) await new Promise<void>((resolve) => (wake = resolve));
    return JSON.parse(lines.shift() as string);
  };
}

const request = (name: string, id: number, args = {}) =>
  `${JSON.stringify({ ...JSON.parse(modernRequest('tools/call', { name, arguments: args }).body), id })}\n`;

describe.each(CLIENT_KINDS)('an SDK client over a Unix socket (%s)', (kind) => {
  it('calls tools as the principal the listener was given', async () => {
    await start(testService(), { principal: { id: 'sidecar', authentication: 'local', roles: ['ops'], scopes: [] } });
    const client = await connectClient(kind);
    expect(jsonOf(await client.callTool({ name: 'whoami', arguments: {} }))).toMatchObject({
      id: 'sidecar',
      roles: ['ops'],
      transport: 'unix',
    });
  });
});

describe('a Unix socket', () => {
  it('is for its owner only, and goes away with the server', async () => {
    const server = await start();
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(server.endpoints).toEqual([path]);
    const client = await connectClient('auto');
    expect(jsonOf(await client.callTool({ name: 'whoami', arguments: {} }))).toMatchObject({
      id: `local:${userInfo().username}`,
      roles: [],
    });
    await server.stop();
    expect(existsSync(path)).toBe(false);
    expect(server.metrics().activeConnections).toBe(0);
  });

  it('has the mode it was given', async () => {
    await start(testService(), { mode: 0o660 });
    expect(statSync(path).mode & 0o777).toBe(0o660);
  });

  it('replaces the file of a dead process', async () => {
    const child = spawn(process.execPath, ['-e', `require('net').createServer().listen(${JSON.stringify(path)}, () => console.log('up'))`]);
    await new Promise((resolve) => child.stdout.once('data', resolve));
    child.kill('SIGKILL');
    await new Promise((resolve) => child.once('exit', resolve));
    expect(existsSync(path)).toBe(true);
    await start();
    expect(jsonOf(await (await connectClient('auto')).callTool({ name: 'echo', arguments: { a: 1 } }))).toEqual({ a: 1 });
  });

  it.each([
    ['is in use', async () => void (await start()), 'in use'],
    ['is no socket', async () => writeFileSync(path, 'precious'), 'not a socket'],
    ['is in a folder that is not there', async () => void (path = join(folder, 'no', 'such', 'folder')), 'cannot listen'],
  ])('refuses to start where the path %s', async (_name, prepare, message) => {
    await prepare();
    await expect(start()).rejects.toMatchObject({
      code: 'invalid_configuration',
      option: 'unixSocket.path',
      message: expect.stringContaining(message),
    });
  });

  it('drains: finishes what runs, then ends the connections', async () => {
    const state = testService();
    const server = await start(state);
    const client = await connectClient('auto');
    const result = client.callTool({ name: 'slow', arguments: {} });
    await state.started;
    const draining = server.drain(10_000);
    await settle();
    await expect(dial()).rejects.toThrow();
    state.open();
    expect(jsonOf(await result)).toBe('done');
    await draining;
    expect(server.metrics().activeConnections).toBe(0);
  });

  it('cancels the calls of a peer that goes away', async () => {
    const state = testService();
    const server = await start(state);
    const socket = await dial();
    socket.write(request('slow', 1));
    await state.started;
    socket.destroy();
    while (server.metrics().activeConnections > 0) await settle();
    expect(state.aborted).toBe(1);
  });

  it('ends the connections of a principal that expires', async () => {
    const clock = new ManualClock(Date.now());
    const principal = { id: 'a', authentication: 'local', roles: [], scopes: [], expiresAt: clock.now() + 1000 };
    const server = await start(testService(), { principal }, { clock });
    const socket = await dial();
    const ended = new Promise((resolve) => socket.once('end', resolve));
    socket.resume();
    while (server.metrics().activeConnections === 0) await settle();
    await clock.advance(1000);
    await ended;
  });

  it('does not let more in than maxConnections', async () => {
    const server = await start(testService(), {}, { limits: { maxConnections: 1 } });
    await connectClient('auto');
    const second = await dial();
    await new Promise((resolve) => second.once('close', resolve));
    expect(server.metrics().activeConnections).toBe(1);
  });
});

describe('bad input on a line', () => {
  const deep = `{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":${'['.repeat(100)}${']'.repeat(100)}}}`;
  it.each<[string, string | Buffer, number, unknown]>([
    ['malformed JSON', '{"jsonrpc":', -32700, null],
    ['bytes that are not UTF-8', Buffer.from([0x7b, 0xff, 0x7d]), -32700, null],
    ['deep JSON', deep, -32700, null],
    ['a batch array', '[{"jsonrpc":"2.0","id":1,"method":"ping"}]', -32600, null],
    ['a wrong envelope', '{"jsonrpc":"1.0","id":5,"method":"ping"}', -32600, 5],
    ['an oversized message', `{"jsonrpc":"2.0","id":1,"method":"${'x'.repeat(5000)}"}`, 413, null],
  ])('%s is answered and the connection goes on', async (_name, line, code, id) => {
    await start(testService(), {}, { limits: { maxMessageBytes: 4096 } });
    const socket = await dial();
    const next = reader(socket);
    socket.write(line);
    socket.write('\n\r\n');
    expect(await next()).toMatchObject({ jsonrpc: '2.0', id, error: { code, message: expect.any(String) } });
    socket.write(request('echo', 9, { still: 'here' }));
    expect(await next()).toMatchObject({ id: 9, result: { content: [{ text: '{"still":"here"}' }] } });
  });

  it('cut into single bytes, or many on one write, is all the same', async () => {
    await start();
    const socket = await dial();
    const next = reader(socket);
    for (const byte of Buffer.from(request('echo', 1, { ä: '€' }))) socket.write(Buffer.of(byte));
    expect(await next()).toMatchObject({ id: 1, result: { content: [{ text: '{"ä":"€"}' }] } });
    socket.write(request('echo', 2) + request('echo', 3) + request('echo', 4));
    const ids = [(await next()).id, (await next()).id, (await next()).id];
    expect(ids.sort()).toEqual([2, 3, 4]);
  });

  it('waits unread while as many requests as allowed are in progress', async () => {
    const state = testService();
    await start(state, {}, { limits: { maxInFlight: 2 } });
    const socket = await dial();
    const next = reader(socket);
    for (let id = 1; id <= 5; id += 1) socket.write(request('slow', id));
    await state.started;
    await settle();
    expect(state.calls).toBeLessThanOrEqual(2);
    state.open();
    const ids = [];
    for (let answers = 0; answers < 5; answers += 1) ids.push((await next()).id);
    expect(ids.sort()).toEqual([1, 2, 3, 4, 5]);
  });
});
