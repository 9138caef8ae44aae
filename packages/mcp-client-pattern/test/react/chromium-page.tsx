import type { MCPClientConfig } from '@mcp-blocks/mcp-client-pattern';
import { StrictMode, useEffect } from 'react';
import { createRoot } from 'react-dom/client';
import { App } from '../readme/react-app.js';

/** What the test finds in the page's global scope. */
export interface PageGlobal {
  /** How often a component beside the README's page was mounted. */
  mounts: number;
  /** The timers that wait. */
  readonly timers: ReadonlySet<unknown>;
  start(config: MCPClientConfig): void;
  stop(): void;
}

const own = globalThis as unknown as PageGlobal;

function Beside() {
  useEffect(() => void (own.mounts += 1), []);
  return null;
}

/**
 * Puts what the test needs into the page's global scope.
 *
 * @public The entry of the bundle calls it.
 */
export function prepare(): void {
  const root = createRoot(document.body.appendChild(document.createElement('main')));
  Object.assign(own, {
    mounts: 0,
    start: (config: MCPClientConfig) =>
      root.render(
        <StrictMode>
          <App config={config} />
          <Beside />
        </StrictMode>,
      ),
    stop: () => root.unmount(),
  });
}
