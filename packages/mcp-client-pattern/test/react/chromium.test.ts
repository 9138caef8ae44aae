import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type RpcHandler, type RpcService, ServiceEventEmitter } from '@mcp-blocks/core';
import { findProgram } from '@mcp-blocks/services';
import { chromium, type Page } from 'playwright-core';
import { afterEach, expect, it, vi } from 'vitest';
import { type Bundle, bundle } from '../browser/bundle.js';
import { startServer } from '../real-server.js';
import type { PageGlobal } from './chromium-page.js';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** A shop that takes orders. */
function shop(): RpcService & { readonly orders: string[] } {
  const events = new ServiceEventEmitter();
  const orders: string[] = [];
  const handler: RpcHandler = async ({ method, params }, { transport }) => {
    if (method === 'resources/read') return { contents: orders.map((text, n) => ({ uri: `shop://orders/${n}`, text })) };
    if (method !== 'tools/call') return {};
    const { item } = params.arguments as { item: string };
    orders.push(`${item} over ${transport}`);
    events.publish({ kind: 'resource_updated', uri: 'shop://orders' });
    return { content: [{ type: 'text', text: `order ${orders.length}` }] };
  };
  const capabilities = { tools: {}, resources: { subscribe: true } };
  return { info: { name: 'shop', version: '1.0.0', capabilities }, handler, events, orders };
}

/** Keeps the timers that wait in `timers`. Runs in the page, before anything else. */
function watchTimers(): void {
  const timers = new Set<unknown>();
  Object.assign(globalThis, { timers });
  for (const [set, clear, isOnce] of [
    ['setTimeout', 'clearTimeout', true],
    ['setInterval', 'clearInterval', false],
  ] as const) {
    const [begin, end] = [globalThis[set], globalThis[clear]] as [(run: () => void, ms?: number) => unknown, (timer: unknown) => void];
    const replacements = {
      [set]: (run: (...args: unknown[]) => void, ms?: number, ...args: unknown[]) => {
        const timer = begin(() => {
          if (isOnce) timers.delete(timer);
          run(...args);
        }, ms);
        timers.add(timer);
        return timer;
      },
      [clear]: (timer: unknown) => {
        timers.delete(timer);
        end(timer);
      },
    };
    Object.assign(globalThis, replacements);
  }
}

async function openPage({ chunks }: Bundle) {
  const [entry] = [...chunks.keys()];
  const server = createServer(({ url = '/' }, response) => {
    const script = chunks.get(url);
    response.setHeader('content-type', `${script === undefined ? 'text/html' : 'text/javascript'}; charset=utf-8`);
    response.end(script ?? `<!doctype html><body></body><script type="module" src="${entry}"></script>`);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  cleanups.push(() => server.close().closeAllConnections());
  const browser = await chromium.launch({
    executablePath: findProgram('chromium'),
    headless: true,
    chromiumSandbox: false,
    args: [
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
      '--host-resolver-rules=MAP app.localhost 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1',
    ],
  });
  cleanups.push(() => browser.close());
  const page = await browser.newPage();
  const seen = observe(page);
  await page.addInitScript(watchTimers);
  await page.goto(`http://app.localhost:${(server.address() as AddressInfo).port}/`);
  return { page, seen };
}

/** What a page has open, as its browser sees it. */
function observe(page: Page) {
  const requests = new Set<unknown>();
  const webSockets = { opened: 0, open: 0 };
  const errors: string[] = [];
  page.on('request', (request) => requests.add(request));
  page.on('requestfinished', (request) => requests.delete(request));
  page.on('requestfailed', (request) => requests.delete(request));
  page.on('websocket', (webSocket) => {
    webSockets.opened += 1;
    webSockets.open += 1;
    webSocket.on('close', () => (webSockets.open -= 1));
  });
  page.on('pageerror', (error) => errors.push(String(error)));
  return { requests, webSockets, errors };
}

it('a React page in Chromium calls, loses its WebSocket, goes on over HTTP and back, and leaves nothing open', {
  timeout: 60_000,
}, async () => {
  const service = shop();
  const { server, httpDoor, webSocketDoor, stop } = await startServer(service, { allowedOrigins: ['app.localhost'] });
  cleanups.push(stop);
  const { page, seen } = await openPage(await bundle("import { prepare } from '../react/chromium-page.js'; prepare();", 'development'));
  const status = (text: string) => page.getByText(text, { exact: true }).waitFor();
  const order = async (number: number) => {
    await page.getByRole('button').click();
    await page.getByText(`order ${number}`, { exact: true }).waitFor();
    await page.locator(`li:nth-child(${number})`).waitFor();
  };

  await page.evaluate((config) => (globalThis as unknown as PageGlobal).start(config), {
    serverUrl: `http://127.0.0.1:${httpDoor.port}/mcp`,
    webSocketUrl: `ws://127.0.0.1:${webSocketDoor.port}/ws`,
  });
  await status('connected by websocket');
  await order(1);
  // StrictMode mounts twice; the client is one.
  expect(await page.evaluate(() => (globalThis as unknown as PageGlobal).mounts)).toBe(2);
  expect(seen.webSockets).toEqual({ opened: 1, open: 1 });
  expect(server.metrics().activeConnections).toBe(1);

  await webSocketDoor.shut();
  await status('connected by http');
  await order(2);
  await webSocketDoor.open();
  await status('connected by websocket');
  await order(3);
  expect(service.orders).toEqual(['tea over websocket', 'tea over http', 'tea over websocket']);

  await page.evaluate(() => (globalThis as unknown as PageGlobal).stop());
  const { opened } = seen.webSockets;
  const left = async () => {
    const timers = await page.evaluate(() => (globalThis as unknown as PageGlobal).timers.size);
    return { timers, requests: seen.requests.size, webSockets: seen.webSockets.open };
  };
  await vi.waitFor(async () => expect(await left()).toEqual({ timers: 0, requests: 0, webSockets: 0 }), 5_000);
  // An idle HTTP connection is the browser's, which would keep it for other pages.
  httpDoor.cut();
  await vi.waitFor(() => expect(server.metrics().activeConnections).toBe(0), 5_000);
  expect(seen.webSockets).toEqual({ opened, open: 0 });
  expect(seen.errors).toEqual([]);
});

it("the README's page is the one that is tested here", () => {
  const read = (path: string) => readFileSync(new URL(path, import.meta.url), 'utf8');
  expect(read('../../README.md')).toContain(`\`\`\`tsx\n${read('../readme/react-app.tsx')}\`\`\``);
});
