import { type RpcService, ServiceEventEmitter } from '@mcp-blocks/core';
import { encryptedWebSocket } from '@mcp-blocks/encrypted-websocket';
import { http, SecureMCPServer } from '@mcp-blocks/secure-mcp-server';

/**
 * A server to be killed, in a process of its own: `ws` or `http`, then the port. Tells its URL on stdout, then
 * what is called of it. The tool `hold` never answers; `touch` announces a change of the tool list.
 */
const [scheme, port = '0'] = process.argv.slice(2);
const say = (line: string) => process.stdout.write(`${line}\n`);
const events = new ServiceEventEmitter();
const service: RpcService = {
  info: { name: 'mortal', version: '1.0.0', capabilities: { tools: { listChanged: true }, resources: { subscribe: true }, logging: {} } },
  events,
  handler: async ({ method, params }) => {
    say([method, params.name ?? params.uri ?? params.level].filter(Boolean).join(' '));
    if (params.name === 'hold' || params.uri === 'test://slow') await new Promise(() => {});
    if (params.name === 'touch') events.publish({ kind: 'tools_list_changed' });
    if (method === 'tools/list') return { tools: [{ name: 'pid', inputSchema: { type: 'object' } }] };
    return method === 'tools/call' ? { content: [{ type: 'text', text: String(process.pid) }] } : {};
  },
};
const server = new SecureMCPServer({
  service,
  allowAnonymous: true,
  listeners: [scheme === 'ws' ? encryptedWebSocket({ port: Number(port) }) : http({ port: Number(port) })],
});
await server.start();
say(String(server.endpoints[0]));
process.once('SIGTERM', () => void server.drain(5_000).then(() => server.stop()));
