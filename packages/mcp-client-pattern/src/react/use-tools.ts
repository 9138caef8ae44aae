import type { Tool } from '@modelcontextprotocol/client';
import { useMemo } from 'react';
import { useMCPClient } from './client-provider.js';
import { LiveResult, type LiveState, LOADING } from './live-result.js';
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
        watch: ({ changed }) => ({ ready: Promise.resolve(), end: client.on('toolsChanged', changed) }),
        cached: 'tools/list',
      }),
    [client],
  );
  return { ...useSource(tools, LOADING), refresh: tools.refresh };
}
