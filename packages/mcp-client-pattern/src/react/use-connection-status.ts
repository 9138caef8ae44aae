import { useMemo } from 'react';
import type { ConnectionStatus } from '../events.js';
import type { MCPClientPattern } from '../mcp-client-pattern.js';
import { useMCPClient } from './client-provider.js';
import { type Source, useSource } from './observable.js';

/** Of a client that has not connected, which none on a server has. */
const NOT_CONNECTED: ConnectionStatus = {
  state: 'disconnected',
  transport: null,
  era: null,
  health: 'unknown',
  latency: null,
  reconnectAttempts: 0,
};

/** How the client is connected. Renders again when its state, transport, health or last error changes. */
export function useConnectionStatus(): ConnectionStatus {
  const client = useMCPClient();
  return useSource(
    useMemo(() => statusOf(client), [client]),
    NOT_CONNECTED,
  );
}

function statusOf(client: MCPClientPattern): Source<ConnectionStatus> {
  let status = client.getConnectionStatus();
  return {
    snapshot: () => status,
    subscribe(listener) {
      const changed = () => {
        status = client.getConnectionStatus();
        listener();
      };
      const ends = [client.on('statusChange', changed), client.on('healthChange', changed)];
      // It may have changed since it was first shown.
      status = client.getConnectionStatus();
      return () => {
        for (const end of ends) end();
      };
    },
  };
}
