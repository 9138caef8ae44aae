import { RpcError } from '@mcp-blocks/core';
import { createElement, useEffect } from 'react';
import { describe, expect, it, vi } from 'vitest';
import { MCPClientProvider, type UseTool, useTool } from '../../src/react/index.js';
import { type Bench, benches, settle } from '../support.js';
import { during, show, within } from './page.js';

const bench = benches();

/** A component with one tool, whose hook the test holds. */
async function showTool(made: Bench, name: string) {
  const held: { tool?: UseTool; readonly calls: Set<unknown> } = { calls: new Set() };
  const component = () => {
    const tool = useTool(name);
    held.tool = tool;
    held.calls.add(tool.call);
    const { status, result, error, progress } = tool;
    return JSON.stringify([status, result?.content[0], error?.message, progress?.progress]);
  };
  const page = await show(within(made, component));
  return { page, calls: held.calls, state: () => JSON.parse(page.text()) as unknown[], tool: () => held.tool! };
}

describe('useTool', () => {
  it('shows a call from its beginning to its answer', async () => {
    const made = bench();
    const { state, tool, calls } = await showTool(made, 'pay');
    made.service.hold.add('pay');
    expect(state()).toEqual(['idle', null, null, null]);
    await during(() => void tool().call({ n: 1 }));
    expect(state()).toEqual(['pending', null, null, null]);
    await during(settle);
    await during(() => made.service.release('pay'));
    await during(settle);
    expect(state()).toEqual(['success', { type: 'text', text: 'pay {"n":1} 1' }, null, null]);
    await during(() => tool().reset());
    expect(state()).toEqual(['idle', null, null, null]);
    expect(calls.size).toBe(1);
  });

  it('shows an error, which nobody has to handle', async () => {
    const unhandled = vi.fn();
    process.once('unhandledRejection', unhandled);
    const made = bench();
    const { state, tool } = await showTool(made, 'pay');
    made.service.next = new RpcError('forbidden', 'Not today');
    await during(async () => {
      void tool().call();
      await settle();
    });
    expect(state()).toEqual(['error', null, 'Not today', null]);
    process.off('unhandledRejection', unhandled);
    expect(unhandled).not.toHaveBeenCalled();
  });

  it('rejects for those who handle it', async () => {
    const made = bench();
    const { tool } = await showTool(made, 'pay');
    made.service.next = new RpcError('forbidden', 'Not today');
    await during(() => expect(tool().call()).rejects.toMatchObject({ code: 'forbidden' }));
  });

  it('shows progress, and tells the caller', async () => {
    const made = bench();
    const { state, tool } = await showTool(made, 'pay');
    made.service.hold.add('pay');
    const seen: unknown[] = [];
    await during(async () => {
      void tool().call({}, { onProgress: ({ progress }) => seen.push(progress) });
      await settle();
    });
    const { progressToken } = made.service.received.at(-1)!.params._meta as { progressToken: number };
    await during(async () => {
      await made.webSocket.send({ jsonrpc: '2.0', method: 'notifications/progress', params: { progressToken, progress: 7 } });
      await settle();
    });
    expect([state(), seen]).toEqual([['pending', null, null, 7], [7]]);
    await during(() => tool().reset());
  });

  it('shows the newest call, and lets the one before it finish', async () => {
    const made = bench();
    const { state, tool } = await showTool(made, 'look');
    made.service.hold.add('look');
    const answers: unknown[] = [];
    await during(async () => {
      void tool()
        .call({ n: 1 })
        .then(({ content }) => answers.push(content));
      await settle();
      made.service.hold.delete('look');
      void tool()
        .call({ n: 2 })
        .then(({ content }) => answers.push(content));
      await settle();
    });
    expect([state()[1], answers.length]).toEqual([{ type: 'text', text: 'look {"n":2} 2' }, 1]);
    await during(async () => {
      made.service.release('look');
      await settle();
    });
    expect([state()[1], answers.length]).toEqual([{ type: 'text', text: 'look {"n":2} 2' }, 2]);
  });

  it('answers from the cache where that is wanted', async () => {
    const made = bench();
    await made.client.listTools();
    const { tool } = await showTool(made, 'look');
    await during(() => tool().call({}, { useCache: true, ttl: 1_000 }));
    await during(() => tool().call({}, { useCache: true, ttl: 1_000 }));
    expect(made.service.count('tools/call')).toBe(1);
  });

  it.each(['unmounted', 'reset', 'cancelled by its caller'])('cancels a call that is %s', async (how) => {
    const made = bench();
    const { page, tool } = await showTool(made, 'pay');
    made.service.hold.add('pay');
    const own = new AbortController();
    let outcome: unknown;
    await during(async () => {
      tool()
        .call({}, { signal: own.signal })
        .catch((error: unknown) => (outcome = error));
      await settle();
    });
    expect([made.service.count('tools/call'), outcome]).toEqual([1, undefined]);
    if (how === 'unmounted') await page.hide();
    else await during(() => (how === 'reset' ? tool().reset() : own.abort()));
    await settle();
    expect(outcome).toMatchObject({ code: 'cancelled' });
    expect(made.client.getMetrics().activeRequests).toBe(0);
  });

  it('sends a call made by an effect once, though StrictMode runs the effect twice', async () => {
    const made = bench();
    const page = await show(
      within(made, () => {
        const { call, result } = useTool('pay');
        useEffect(() => void call(), [call]);
        return String(result !== undefined);
      }),
    );
    await during(settle);
    expect([page.text(), made.service.count('tools/call')]).toEqual(['true', 1]);
  });

  it('starts anew with another name', async () => {
    const made = bench();
    const seen: string[] = [];
    let tool: UseTool | undefined;
    const named = ({ name }: { name: string }) => {
      tool = useTool(name);
      seen.push(`${name} ${tool.status}`);
      return null;
    };
    const tree = (name: string) => createElement(MCPClientProvider, { client: made.client }, createElement(named, { name }));
    const page = await show(tree('pay'));
    await during(() => tool!.call());
    await page.show(tree('look'));
    expect([...new Set(seen)]).toEqual(['pay idle', 'pay pending', 'pay success', 'look idle']);
  });
});
