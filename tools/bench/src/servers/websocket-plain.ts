import { createServer } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { WebSocketServer } from 'ws';
import { kindOf, serverTls } from '../websocket/kinds.ts';

// The limit: every message back as it came, neither decoded nor parsed. Arguments: those of every server, then the kind.
const kind = kindOf(process.argv[4] as string);
const server = kind.tls ? createTlsServer({ ...serverTls(), ALPNProtocols: ['http/1.1'] }) : createServer();
const sockets = new WebSocketServer({ server, perMessageDeflate: false });
sockets.on('connection', (socket) => {
  socket.on('error', () => {});
  socket.on('message', (data, isBinary) => socket.send(data as Buffer, { binary: isBinary }));
});
server.listen(0, '127.0.0.1', () => console.log(JSON.stringify({ port: (server.address() as AddressInfo).port, path: '/ws' })));
