import { Activity, type ActivityProps, createElement, useEffect } from 'react';
import { renderToString } from 'react-dom/server';
import { describe, expect, it, vi } from 'vitest';
import type { MCPClientConfig, MCPClientPattern } from '../../src/index.js';
import { MCPClientProvider, useConnectionStatus, useMCPClient, useResource, useTool, useTools } from '../../src/react/index.js';
import { type Bench, benches, settle } from '../support.js';
import { during, show, within } from './page.js';

const bench = benches();

/** What a provider makes a client of the bench's links from. */
const configOf = ({ webSocket, http, clock }: Bench): MCPClientConfig => ({
  serverUrl: 'http://127.0.0.1:1/mcp',
  clock,
  random: () => 0.5,
  connectors: (environment) => [webSocket.connector('websocket', environment), http.connector('http', environment)],
});

describe('a provider', () => {
  it('makes one client, which connects when it is needed, and closes it when it goes', async () => {
    const parts = bench();
    const seen = new Set<MCPClientPattern>();
    const closes = vi.fn();
    const page = await show(
      createElement(
        MCPClientProvider,
        { config: configOf(parts) },
        createElement(() => {
          const client = useMCPClient();
          useEffect(() => void seen.add(client), [client]);
          return useConnectionStatus().state;
        }),
      ),
    );
    expect([page.text(), seen.size, parts.webSocket.attempts]).toEqual(['disconnected', 1, 0]);
    const [client] = seen;
    client!.on('statusChange', ({ state }) => state === 'closed' && closes());
    await during(() => client!.listTools());
    expect([page.text(), parts.webSocket.open]).toEqual(['connected', 1]);
    expect(closes).not.toHaveBeenCalled();
    await page.hide();
    await settle();
    expect(client!.getConnectionStatus().state).toBe('closed');
    expect(closes).toHaveBeenCalledTimes(1);
    expect([seen.size, parts.webSocket.open, parts.clock.pendingTimers]).toEqual([1, 0, 0]);
  });

  it('makes another client when it comes back after it was closed', async () => {
    const parts = bench();
    const seen: MCPClientPattern[] = [];
    const component = () => {
      const client = useMCPClient();
      useEffect(() => void (seen.at(-1) !== client && seen.push(client)), [client]);
      return null;
    };
    const tree = (mode: 'visible' | 'hidden') =>
      createElement(
        Activity,
        { mode } as ActivityProps,
        createElement(MCPClientProvider, { config: configOf(parts) }, createElement(component)),
      );
    const page = await show(tree('visible'));
    await page.show(tree('hidden'));
    await page.show(tree('visible'));
    expect(seen.map((client) => client.getConnectionStatus().state)).toEqual(['closed', 'disconnected']);
    await during(() => seen[1]!.listTools());
    await page.hide();
    await settle();
    expect(parts.webSocket.open).toBe(0);
  });

  it('leaves a client of its owner open', async () => {
    const made = bench();
    const page = await show(within(made, () => useConnectionStatus().state));
    await during(() => made.client.connect());
    await page.hide();
    await settle();
    expect(made.client.getConnectionStatus().state).toBe('connected');
  });

  it('is needed', () => {
    const alone = () => renderToString(createElement(() => void useMCPClient()));
    expect(alone).toThrow('there is no MCPClientProvider around this component');
  });

  it('says what is wrong with its configuration', () => {
    const wrong = () => renderToString(createElement(MCPClientProvider, { config: { serverUrl: 'nowhere' } }));
    expect(wrong).toThrow('serverUrl');
  });
});

describe('useConnectionStatus', () => {
  it('follows the connection', async () => {
    const made = bench();
    const page = await show(
      within(made, () => {
        const { state, transport, health } = useConnectionStatus();
        return `${state} ${transport} ${health}`;
      }),
    );
    expect(page.text()).toBe('disconnected null unknown');
    await during(() => made.client.listTools());
    expect(page.text()).toBe('connected websocket healthy');
    await during(async () => {
      await made.clock.advance(1_000);
      await made.webSocket.cut(true);
      await settle();
    });
    expect(page.text()).toBe('connected http healthy');
    await during(() => made.client.close());
    expect(page.text()).toBe('closed null unknown');
  });

  it('shows the newest failure to connect', async () => {
    const made = bench({ reconnectOptions: { maxAttempts: 3 } });
    made.webSocket.up = made.http.up = false;
    const page = await show(
      within(made, () => {
        const { state, lastError, reconnectAttempts } = useConnectionStatus();
        return `${state} ${reconnectAttempts} ${lastError?.message ?? '-'}`;
      }),
    );
    await during(async () => {
      made.client.connect().catch(() => {});
      await settle();
    });
    expect(page.text()).toMatch(/^connecting 1 Cannot connect. websocket: websocket is down/);
    made.webSocket.accept = () => {
      throw new Error('the door is locked');
    };
    made.webSocket.up = true;
    await during(() => made.clock.advance(500));
    expect(page.text()).toMatch(/^connecting 2 Cannot connect. websocket: the door is locked/);
  });

  it('shows what happened between rendering and mounting', async () => {
    const made = bench();
    const page = await show(
      within(made, () => {
        const { state } = useConnectionStatus();
        const client = useMCPClient();
        useEffect(() => void client.close(), [client]);
        return state;
      }),
    );
    expect(page.text()).toBe('closed');
  });
});

it('renders on a server, where nothing is called, read or connected', () => {
  const made = bench();
  const html = renderToString(
    within(made, () => `${useConnectionStatus().state} ${useTool('pay').status} ${useResource('test://a').status} ${useTools().status}`),
  );
  expect(html).toBe('disconnected idle loading loading');
  expect([made.webSocket.attempts, made.service.received]).toEqual([0, []]);
});
