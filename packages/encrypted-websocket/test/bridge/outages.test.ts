import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { META } from '@mcp-blocks/core';
import { describe, expect, it } from 'vitest';
import { cleanup } from '../support.js';
import { INITIALIZE, INITIALIZED, spawnCli } from './support.js';

const SERVER = fileURLToPath(new URL('mortal-server.ts', import.meta.url));

/** A server in a process of its own. */
async function mortalServer(scheme: 'ws' | 'http', port = '0') {
  const child = spawn(process.execPath, [SERVER, scheme, port], { stdio: ['ignore', 'pipe', 'inherit'] });
  cleanup(async () => void child.kill('SIGKILL'));
  let text = '';
  let wake = () => {};
  child.stdout.on('data', (chunk) => {
    text += String(chunk);
    wake();
  });
  const says = async (line: string | RegExp) => {
    for (;;) {
      const found = text.split('\n').find((one) => (typeof line === 'string' ? one === line : line.test(one)));
      if (found !== undefined) return found;
      await new Promise<void>((resolve) => (wake = resolve));
    }
  };
  const url = await says(/^(ws|http):/);
  return {
    url,
    says,
    pid: String(child.pid),
    restart: async (signal: 'SIGKILL' | 'SIGTERM') => {
      const exited = once(child, 'close');
      child.kill(signal);
      await exited;
      return mortalServer(scheme, new URL(url).port);
    },
  };
}

const modern = (id: string | number, method: string, params: object = {}) => ({
  jsonrpc: '2.0',
  id,
  method,
  params: {
    ...params,
    _meta: {
      [META.protocolVersion]: '2026-07-28',
      [META.clientInfo]: { name: 'host', version: '1' },
      [META.clientCapabilities]: {},
    },
  },
});
const legacy = (id: string | number, method: string, params: object = {}) => ({ jsonrpc: '2.0', id, method, params });
const textOf = ({ result }: { result?: object }) => (result as { content?: { text: string }[] } | undefined)?.content?.[0]?.text;

describe.each(['ws', 'http'] as const)('a server over %s that is killed and started again', (scheme) => {
  it('in the legacy era: the host goes on with its session', async () => {
    const first = await mortalServer(scheme);
    const bridge = spawnCli(['bridge', first.url]);
    bridge.write(INITIALIZE);
    expect((await bridge.answer('init')).result).toMatchObject({ protocolVersion: '2025-11-25' });
    bridge.write(INITIALIZED, legacy(1, 'resources/subscribe', { uri: 'test://a' }), legacy(2, 'tools/call', { name: 'pid' }));
    await bridge.answer(1);
    expect(textOf(await bridge.answer(2))).toBe(first.pid);
    bridge.write(legacy(3, 'tools/call', { name: 'hold' }), legacy(4, 'resources/read', { uri: 'test://slow' }));
    await first.says('tools/call hold');
    await first.says('resources/read test://slow');

    const second = await first.restart('SIGKILL');
    expect((await bridge.answer(3)).error).toMatchObject({ code: 504, data: { reason: 'ambiguous_outcome' } });
    await second.says('resources/read test://slow');
    await second.says('resources/subscribe test://a');
    bridge.write(legacy(5, 'tools/call', { name: 'pid' }));
    expect(textOf(await bridge.answer(5))).toBe(second.pid);
    const ids = bridge.lines().flatMap(({ id }) => (id === undefined ? [] : [id]));
    expect(ids).toEqual(['init', 1, 2, 3, 5]);
    // The GET stream of the new session opens when it does.
    for (let id = 6; !bridge.output.stdout.includes('notifications/tools/list_changed'); id += 1) {
      bridge.write(legacy(id, 'tools/call', { name: 'touch' }));
      await bridge.answer(id);
    }
  }, 60_000);

  it('in the modern era: open subscriptions go on under their id', async () => {
    const first = await mortalServer(scheme);
    const bridge = spawnCli(['bridge', first.url]);
    bridge.write(
      modern('sub', 'subscriptions/listen', { notifications: { toolsListChanged: true } }),
      modern(1, 'tools/call', { name: 'pid' }),
    );
    expect(textOf(await bridge.answer(1))).toBe(first.pid);
    bridge.write(modern(2, 'tools/call', { name: 'hold' }));
    await first.says('tools/call hold');

    const second = await first.restart('SIGKILL');
    expect((await bridge.answer(2)).error).toMatchObject({ code: 504 });
    bridge.write(modern(3, 'tools/call', { name: 'pid' }));
    expect(textOf(await bridge.answer(3))).toBe(second.pid);
    bridge.write(modern(4, 'tools/call', { name: 'touch' }));
    await bridge.answer(4);
    while (!bridge.output.stdout.includes('list_changed')) await once(bridge.child.stdout as NodeJS.ReadableStream, 'data');
    const told = bridge.lines().filter((line) => 'method' in line);
    expect(told).toMatchObject([
      { method: 'notifications/subscriptions/acknowledged', params: { _meta: { [META.subscriptionId]: 'sub' } } },
      { method: 'notifications/tools/list_changed', params: { _meta: { [META.subscriptionId]: 'sub' } } },
    ]);
  }, 60_000);
});
