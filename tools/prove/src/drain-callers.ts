import { Agent, request } from 'node:http';
import { WebSocket } from 'ws';
import type { Balancer } from './drain-balancer.ts';

/** Makes one call on a node and resolves with its text. */
export interface Caller {
  readonly name: string;
  /** @throws NothingRan when the call may be made on another node; anything else is a failed request. */
  call(port: number, token: string, ms: number): Promise<string>;
  close(): void;
}

/** The call certainly did not run: it was never sent, or the node said so. */
export class NothingRan extends Error {}

type Era = 'modern' | 'legacy';

const CLIENT = { name: 'prove', version: '1.0.0' };
const ENVELOPE = {
  'io.modelcontextprotocol/protocolVersion': '2026-07-28',
  'io.modelcontextprotocol/clientInfo': CLIENT,
  'io.modelcontextprotocol/clientCapabilities': {},
};
const INITIALIZE = {
  jsonrpc: '2.0',
  id: 'initialize',
  method: 'initialize',
  params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: CLIENT },
};
const INITIALIZED = { jsonrpc: '2.0', method: 'notifications/initialized' };

function toolCall(era: Era, id: number, token: string, ms: number): object {
  const params = { name: 'work', arguments: { token, ms }, ...(era === 'modern' ? { _meta: ENVELOPE } : {}) };
  return { jsonrpc: '2.0', id, method: 'tools/call', params };
}

interface Reply {
  readonly error?: { readonly code: number; readonly message: string };
  readonly result?: { readonly content: readonly { readonly text: string }[] };
}

function textOf({ error, result }: Reply): string {
  if (error !== undefined) throw new Error(`error ${error.code}: ${error.message}`);
  return result?.content[0]?.text ?? '';
}

/** Calls over Streamable HTTP on connections that are kept alive, and closed when their node is not ready any more. */
export function httpCaller(era: Era, balancer: Balancer): Caller {
  const agents = new Map<number, Agent>();
  const sessions = new Map<number, string>();
  let id = 0;
  balancer.onUnready((port) => {
    for (const sockets of Object.values(agents.get(port)?.freeSockets ?? {})) for (const socket of sockets ?? []) socket.destroy();
  });
  const post = (
    port: number,
    body: object,
    headers: Record<string, string>,
  ): Promise<{ status: number; session?: string; text: string }> => {
    const agent = agents.get(port) ?? new Agent({ keepAlive: true });
    agents.set(port, agent);
    return new Promise((resolve, reject) => {
      const sent = request(
        {
          port,
          agent,
          host: '127.0.0.1',
          path: '/mcp',
          method: 'POST',
          headers: { 'content-type': 'application/json', accept: 'application/json, text/event-stream', ...headers },
        },
        (response) => {
          let text = '';
          response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
          response.once('error', reject);
          const session = response.headers['mcp-session-id'];
          const status = response.statusCode as number;
          response.once('end', () => resolve({ status, text, ...(typeof session === 'string' ? { session } : {}) }));
        },
      );
      // A connection that did not come about has carried nothing.
      sent.once('error', (error: NodeJS.ErrnoException) => reject(error.syscall === 'connect' ? new NothingRan(error.message) : error));
      sent.end(JSON.stringify(body));
    });
  };
  const sessionOn = async (port: number): Promise<string> => {
    const known = sessions.get(port);
    if (known !== undefined) return known;
    const { status, session, text } = await post(port, INITIALIZE, {});
    if (status !== 200 || session === undefined) throw new Error(`initialize: ${status} ${text}`);
    await post(port, INITIALIZED, { 'mcp-session-id': session });
    sessions.set(port, session);
    return session;
  };
  return {
    name: `http ${era}`,
    async call(port, token, ms) {
      const modern = { 'mcp-protocol-version': '2026-07-28', 'mcp-method': 'tools/call', 'mcp-name': 'work' };
      const headers = era === 'modern' ? modern : { 'mcp-session-id': await sessionOn(port) };
      const { status, text } = await post(port, toolCall(era, ++id, token, ms), headers);
      if (status === 404 && era === 'legacy') {
        // The session went with its process; MCP 2025-11-25 has the client start a new one.
        if (sessions.get(port) === (headers as { 'mcp-session-id': string })['mcp-session-id']) sessions.delete(port);
        throw new NothingRan('the session is gone');
      }
      if (status !== 200) throw new Error(`HTTP ${status}: ${text}`);
      return textOf(JSON.parse(/^data: (\{.*)$/m.exec(text)?.[1] ?? text) as Reply);
    },
    close() {
      for (const agent of agents.values()) agent.destroy();
    },
  };
}

/** The server has drained: what it had read is answered, the rest was not started (TRANSPORT.md). */
const GOING_AWAY = 1001;

interface Pending {
  resolve(reply: Reply): void;
  reject(error: Error): void;
}

interface Connection {
  readonly socket: WebSocket;
  readonly pending: Map<number | string, Pending>;
  readonly open: Promise<void>;
}

/** Calls over one WebSocket per node. */
export function webSocketCaller(era: Era): Caller {
  const connections = new Map<number, Connection>();
  let id = 0;
  const connect = (port: number): Connection => {
    const known = connections.get(port);
    if (known !== undefined) return known;
    const socket = new WebSocket(`ws://127.0.0.1:${port}/ws`, 'mcp');
    const pending = new Map<number | string, Pending>();
    let opened = false;
    const open = new Promise<void>((resolve, reject) => {
      const ready = () => {
        opened = true;
        resolve();
      };
      socket.once('open', () => {
        if (era === 'modern') return ready();
        const initialized = () => {
          socket.send(JSON.stringify(INITIALIZED));
          ready();
        };
        pending.set(INITIALIZE.id, { resolve: initialized, reject });
        socket.send(JSON.stringify(INITIALIZE));
      });
      // No call is sent before the connection is open.
      socket.once('error', (error) => !opened && reject(new NothingRan(error.message)));
      socket.once('close', () => !opened && reject(new NothingRan('closed before it was open')));
    });
    socket.on('message', (data) => {
      const reply = JSON.parse(String(data)) as Reply & { id: number | string };
      pending.get(reply.id)?.resolve(reply);
      pending.delete(reply.id);
    });
    socket.once('close', (code) => {
      connections.delete(port);
      const error = code === GOING_AWAY ? new NothingRan('the node has drained') : new Error(`the WebSocket closed with ${code}`);
      for (const { reject } of pending.values()) reject(error);
    });
    const connection = { socket, pending, open };
    connections.set(port, connection);
    return connection;
  };
  return {
    name: `websocket ${era}`,
    async call(port, token, ms) {
      const { socket, pending, open } = connect(port);
      await open;
      if (socket.readyState !== WebSocket.OPEN) throw new NothingRan('closed before it was sent');
      const own = ++id;
      const reply = await new Promise<Reply>((resolve, reject) => {
        pending.set(own, { resolve, reject });
        socket.send(JSON.stringify(toolCall(era, own, token, ms)));
      });
      if (reply.error?.message.includes('was not started')) throw new NothingRan(reply.error.message);
      return textOf(reply);
    },
    close() {
      for (const { socket } of connections.values()) socket.terminate();
    },
  };
}
