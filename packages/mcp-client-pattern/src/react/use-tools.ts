import type { Tool } from '@modelcontextprotocol/client';
import { useMemo } from 'react';
import { useMCPClient } from './client-provider.js';
import { LiveResult, type LiveState, LOADING, onReconnect } from './live-result.js';
import { useSource } from './observable.js';

/** What {@link useTools} gives. */
export type UseTools = LiveState<readonly Tool[]> & {
  /** Reads the list again, past the cache. */
  readonly refresh: () => void;
};

/** The server's tools, read again when the list changes and after the connection was lost. */
export function useTools(): UseTools {
  const client = useMCPClient();
  const tools = useMemo(
    () =>
      new LiveResult<readonly Tool[]>(client, {
        read: async (signal) => (await client.listTools({ signal })).tools,
        watch({ changed }) {
          const ends = [
            onReconnect(client, changed),
            client.on('notification', ({ method }) => {
              if (method === 'notifications/tools/list_changed') changed();
            }),
          ];
          return {
            ready: Promise.resolve(),
            end() {
              for (const end of ends) end();
            },
          };
        },
        cached: 'tools/list',
      }),
    [client],
  );
  return { ...useSource(tools, LOADING), refresh: tools.refresh };
}
