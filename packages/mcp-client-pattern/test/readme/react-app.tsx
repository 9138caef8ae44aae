import type { MCPClientConfig } from '@mcp-blocks/mcp-client-pattern';
import { MCPClientProvider, useConnectionStatus, useResource, useTool } from '@mcp-blocks/mcp-client-pattern/react';

export function App({ config }: { config: MCPClientConfig }) {
  return (
    <MCPClientProvider config={config}>
      <Status />
      <Orders />
    </MCPClientProvider>
  );
}

function Status() {
  const { state, transport } = useConnectionStatus();
  return <p>{transport === null ? state : `${state} by ${transport}`}</p>;
}

function Orders() {
  const orders = useResource('shop://orders');
  const order = useTool('order');
  return (
    <>
      <ul>{orders.result?.contents.map((item) => 'text' in item && <li key={item.uri}>{item.text}</li>)}</ul>
      <button type="button" disabled={order.status === 'pending'} onClick={() => order.call({ item: 'tea' })}>
        Order tea
      </button>
      <output>{order.error?.message ?? order.result?.content.map((part) => (part.type === 'text' ? part.text : part.type))}</output>
    </>
  );
}
