import type { ReadResourceResult } from '@modelcontextprotocol/client';
import { useMemo } from 'react';
import type { MCPClientPattern } from '../mcp-client-pattern.js';
import type { ResourceChange } from '../resource-subscriptions.js';
import { useMCPClient } from './client-provider.js';
import { type Changes, LiveResult, type LiveState, LOADING, onReconnect, type Watch } from './live-result.js';
import { useSource } from './observable.js';

/** What {@link useResource} gives. */
export type UseResource = LiveState<ReadResourceResult> & {
  /** Reads the resource again, past the cache. */
  readonly refresh: () => void;
};

/**
 * A resource, subscribed to where the server has subscriptions, and then read; read again when the server says that
 * it or the list of resources has changed, and after the connection was lost. It is `loading` until the client is
 * connected or has given up.
 */
export function useResource(uri: string): UseResource {
  const client = useMCPClient();
  const resource = useMemo(
    () =>
      new LiveResult(client, {
        read: (signal) => client.readResource(uri, { signal }),
        watch: (changes) => watch(client, uri, changes),
        cached: `resources/read ${uri}`,
      }),
    [client, uri],
  );
  return { ...useSource(resource, LOADING), refresh: resource.refresh };
}

function watch(client: MCPClientPattern, uri: string, { changed, refresh }: Changes): Watch {
  let isSubscribed = false;
  let hasEnded = false;
  const listener = ({ missed }: ResourceChange) => (missed ? refresh() : changed());
  const subscribe = async () => {
    try {
      await client.subscribe(uri, listener);
      isSubscribed = true;
    } catch {
      // Then it is read without; what else is wrong, the reading will tell.
    }
    // Also one that came too late to be ended.
    if (hasEnded) await client.unsubscribe(uri, listener).catch(() => {});
  };
  const ends = [
    // A subscription tells by itself of what may have been missed.
    onReconnect(client, () => {
      if (!isSubscribed) void subscribe().then(refresh);
    }),
    client.on('resourcesChanged', ({ missed }) => {
      if (!missed) refresh();
    }),
  ];
  return {
    ready: subscribe(),
    end() {
      hasEnded = true;
      for (const end of ends) end();
      // A connection that cannot be asked has ended, or will.
      client.unsubscribe(uri, listener).catch(() => {});
    },
  };
}
