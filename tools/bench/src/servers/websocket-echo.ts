import { createServer } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { type ListenerHost, systemClock } from '@mcp-blocks/core';
import { RequestGuard } from '@mcp-blocks/core/node';
import { kindOf, NOISE_KEYS, serverTls } from '../websocket/kinds.ts';

// The server's end as `encryptedWebSocket` makes it (guard, authentication, Noise, heartbeat, limits), up to the SDK's
// Transport, whose messages go back as they came: what the SDK makes of a request is not the transport's cost. The
// package gives out no such end, hence its own modules.
const module = (name: string) => import(new URL(`../../../../packages/encrypted-websocket/dist/${name}.js`, import.meta.url).href);
const { Acceptor } = (await module('acceptor')) as typeof import('../../../../packages/encrypted-websocket/src/acceptor.ts');
const { resolveOptions } = (await module(
  'server-options',
)) as typeof import('../../../../packages/encrypted-websocket/src/server-options.ts');
const { noiseEndpoints } = (await module('server-noise')) as typeof import('../../../../packages/encrypted-websocket/src/server-noise.ts');
const { SocketTransport } = (await module(
  'socket-transport',
)) as typeof import('../../../../packages/encrypted-websocket/src/socket-transport.ts');
const { Traffic } = (await module('traffic')) as typeof import('../../../../packages/encrypted-websocket/src/traffic.ts');

const kind = kindOf(process.argv[4] as string);
const host: ListenerHost = {
  service: { info: { name: 'bench', version: '1.0.0', capabilities: {} }, handler: async () => ({}) },
  authenticate: async () => ({ id: 'anyone', authentication: 'none', roles: [], scopes: [] }),
  audit: () => {},
  onError: (error) => console.error(error),
  connection: () => {},
  maxMessageBytes: 4_194_304,
  maxJsonDepth: 64,
  maxInFlight: 64,
};
const options = resolveOptions(kind.noise === undefined ? {} : { noise: { protocols: [kind.noise], privateKey: NOISE_KEYS.privateKey } });
const traffic = new Traffic();
const acceptor = new Acceptor({
  host,
  clock: systemClock,
  guard: new RequestGuard({ bindAddress: '127.0.0.1' }),
  options,
  endpoints: noiseEndpoints(options.noise, systemClock, host.maxMessageBytes),
  isOpen: () => true,
  activeConnections: () => 0,
  onAccepted: ({ socket, channel }) => {
    const { heartbeat, maxBufferedBytes, slowReaderTimeoutMs } = options;
    const { maxJsonDepth } = host;
    const transport = new SocketTransport({
      ...{ socket, channel, traffic, heartbeat, maxBufferedBytes, slowReaderTimeoutMs, maxJsonDepth },
      clock: systemClock,
      onMalformed: (error) => host.onError(error),
    });
    transport.onmessage = (message) => void transport.send(message).catch(() => {});
    void transport.start();
  },
});
const server = kind.tls ? createTlsServer({ ...serverTls(), ALPNProtocols: ['http/1.1'] }) : createServer();
server.on('upgrade', (request, socket, head) => void acceptor.accept(request, socket, head, true));
server.listen(0, '127.0.0.1', () => console.log(JSON.stringify({ port: (server.address() as AddressInfo).port, path: '/ws' })));
