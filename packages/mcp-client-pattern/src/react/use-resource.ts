import type { ReadResourceResult } from '@modelcontextprotocol/client';
import { useMemo } from 'react';
import { useMCPClient } from './client-provider.js';
import { LiveResult, type LiveState, LOADING } from './live-result.js';
import { useSource } from './observable.js';

/** What {@link useResource} gives. */
export type UseResource = LiveState<ReadResourceResult> & {
  /** Reads the resource again, past the cache. */
  readonly refresh: () => void;
};

/**
 * A resource, read again when the server says that it or the list of resources has changed, and after the connection
 * was lost.
 */
export function useResource(uri: string): UseResource {
  const client = useMCPClient();
  const resource = useMemo(
    () =>
      new LiveResult(client, {
        read: (signal) => client.readResource(uri, { signal }),
        watch: ({ changed, refresh }) =>
          client.on('notification', ({ method, params }) => {
            if (method === 'notifications/resources/updated' && params.uri === uri) changed();
            if (method === 'notifications/resources/list_changed') refresh();
          }),
        cached: `resources/read ${uri}`,
      }),
    [client, uri],
  );
  return { ...useSource(resource, LOADING), refresh: resource.refresh };
}
