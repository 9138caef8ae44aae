import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { findProgram } from '@mcp-blocks/services';
import { chromium, type Page } from 'playwright-core';
import { build, defaultClientConditions } from 'vite';
import { certificates, cleanup } from '../support.js';

/** Bundles a module for browsers, as for production. @returns the code. */
export async function bundle(path: string, conditions: readonly string[] = ['@mcp-blocks/source']): Promise<string> {
  const output = await build({
    configFile: false,
    root: fileURLToPath(new URL('../..', import.meta.url)),
    logLevel: 'silent',
    resolve: { conditions: [...conditions, ...defaultClientConditions] },
    build: { write: false, target: 'es2022', rolldownOptions: { input: path } },
  });
  const [chunk, ...more] = [output].flat().flatMap((one) => ('output' in one ? one.output : []));
  if (chunk === undefined || !('code' in chunk) || more.length > 0) throw new Error(`Expected one chunk of ${path}`);
  return chunk.code;
}

/** One page: the body of its HTML, and the script it loads as `/page.js`. */
export interface PageSource {
  readonly body: string;
  readonly script: string;
}

/** A browser for which `https://app.example` has pages, and `https://mcp.example` is a port of this machine. */
export interface TestBrowser {
  /** Opens a page in a profile of its own. */
  open(source: PageSource): Promise<{ page: Page; errors: string[] }>;
  close(): Promise<void>;
}

export async function startBrowser(mcpPort: number): Promise<TestBrowser> {
  let source: PageSource = { body: '', script: '' };
  const server = createServer(certificates.server, ({ url }, response) => {
    if (url === '/page.js') response.setHeader('content-type', 'text/javascript').end(source.script);
    else response.setHeader('content-type', 'text/html; charset=utf-8').end(`<!doctype html>\n${source.body}`);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
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
      `--host-resolver-rules=MAP app.example:443 127.0.0.1:${port},MAP mcp.example:443 127.0.0.1:${mcpPort},MAP * ~NOTFOUND`,
    ],
  });
  return {
    open: async (given) => {
      source = given;
      const context = await browser.newContext({ ignoreHTTPSErrors: true });
      cleanup(() => context.close());
      const page = await context.newPage();
      const errors: string[] = [];
      page.on('pageerror', (error) => errors.push(String(error)));
      await page.goto('https://app.example/');
      return { page, errors };
    },
    close: async () => {
      await browser.close();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
