import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { type Authenticator, type Principal, RpcError, type RpcService } from '@mcp-blocks/core';
import { encryptedWebSocket } from '@mcp-blocks/encrypted-websocket';
import { http, SecureMCPServer } from '@mcp-blocks/secure-mcp-server';
import { type ConnectionStatus, type MCPClientConfig, MCPClientPattern } from '../src/index.js';

/** A door to a TCP port that can be shut, always at the same address. */
export class Door {
  readonly #sockets = new Set<Socket>();
  #server: Server | undefined;
  #port = 0;
  #target = 0;

  get port(): number {
    return this.#port;
  }

  async open(target = this.#target): Promise<void> {
    this.#target = target;
    const server = createServer((client) => {
      const upstream = connect(this.#target, '127.0.0.1');
      for (const [socket, other] of [
        [client, upstream],
        [upstream, client],
      ] as const) {
        this.#sockets.add(socket);
        socket.on('error', () => other.destroy());
        socket.on('close', () => {
          this.#sockets.delete(socket);
          other.destroy();
        });
        socket.pipe(other);
      }
    });
    await new Promise<void>((resolve) => server.listen(this.#port, '127.0.0.1', resolve));
    this.#port = (server.address() as AddressInfo).port;
    this.#server = server;
  }

  /** Cuts what goes through. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Cuts what goes through and lets nothing new in. */
  async shut(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    if (server === undefined) return;
    const closed = new Promise((resolve) => server.close(resolve));
    this.cut();
    await closed;
  }
}

/** Accepts the tokens it holds at the moment. */
export class Tokens implements Authenticator {
  readonly name = 'tokens';
  readonly valid = new Set<string>();

  authenticate({ header }: Parameters<Authenticator['authenticate']>[0]): Promise<Principal | undefined> {
    const token = header('authorization')?.replace('Bearer ', '');
    if (token === undefined) return Promise.resolve(undefined);
    if (!this.valid.has(token)) return Promise.reject(new RpcError('unauthenticated', 'No such token'));
    return Promise.resolve({ id: 'alice', authentication: 'tokens', roles: [], scopes: [] });
  }
}

/** A secured server with HTTP and WebSocket on ports of their own, each behind a door. */
export async function startServer(service: RpcService, options: { tokens?: Tokens; allowedOrigins?: readonly string[] } = {}) {
  const origins = options.allowedOrigins === undefined ? {} : { allowedOrigins: options.allowedOrigins };
  const webSocket = encryptedWebSocket({ port: 0, ...origins });
  const web = http({ port: 0, ...origins });
  const server = new SecureMCPServer({
    service,
    listeners: [web, webSocket],
    onError: () => {},
    ...(options.tokens === undefined ? { allowAnonymous: true } : { authenticators: [options.tokens] }),
  });
  await server.start();
  const [httpDoor, webSocketDoor] = [new Door(), new Door()];
  await httpDoor.open(portOf(web.endpoint));
  await webSocketDoor.open(portOf(webSocket.endpoint));
  return {
    server,
    httpDoor,
    webSocketDoor,
    async stop() {
      await Promise.all([httpDoor.shut(), webSocketDoor.shut()]);
      await server.stop();
    },
  };
}

export function portOf(endpoint: string | undefined): number {
  return Number(new URL(endpoint ?? '').port);
}

/** A client in a hurry. */
export function connectTo(ports: { http: number; webSocket: number }, config: Partial<MCPClientConfig> = {}): MCPClientPattern {
  return new MCPClientPattern({
    serverUrl: `http://127.0.0.1:${ports.http}/mcp`,
    webSocketUrl: `ws://127.0.0.1:${ports.webSocket}/ws`,
    reconnectOptions: { initialDelay: 20, maxDelay: 100, maxAttempts: 1000 },
    ...config,
  });
}

/** Resolves when the status is as wanted. */
export function until(client: MCPClientPattern, wanted: (status: ConnectionStatus) => boolean): Promise<void> {
  if (wanted(client.getConnectionStatus())) return Promise.resolve();
  return new Promise((resolve) => {
    const stop = client.on('statusChange', (status) => {
      if (!wanted(status)) return;
      stop();
      resolve();
    });
  });
}
