import { WebSocket } from 'ws';
import * as node from '../src/index.js';
import { cleanup, deferred, listening, modernRequest, type TestHost, testHost } from './support.js';

export const serverKeys = node.generateNoiseKeys();
export const clientKeys = node.generateNoiseKeys();
export const strangerKeys = node.generateNoiseKeys();

export const PATTERNS = ['NK', 'XK', 'IK', 'XX'] as const;
export const CIPHERS = ['AESGCM', 'ChaChaPoly'] as const;
type Pattern = (typeof PATTERNS)[number];
type Cipher = (typeof CIPHERS)[number];

export const nameOf = (pattern: Pattern, cipher: Cipher = 'AESGCM'): node.NoiseProtocolName => `Noise_${pattern}_25519_${cipher}_SHA256`;
export const EVERY = PATTERNS.flatMap((pattern) => CIPHERS.map((cipher) => nameOf(pattern, cipher)));

export const serverNoise = (overrides: Partial<node.NoiseListenerOptions> = {}): node.NoiseListenerOptions => ({
  protocols: EVERY,
  privateKey: serverKeys.privateKey,
  ...overrides,
});

export const clientNoise = (pattern: Pattern, overrides: Partial<node.NoiseClientOptions> = {}): node.NoiseClientOptions => ({
  protocol: nameOf(pattern),
  serverPublicKey: serverKeys.publicKey,
  ...(pattern === 'NK' ? {} : { privateKey: clientKeys.privateKey }),
  ...overrides,
});

export async function sealed(host: TestHost = testHost(), options: node.EncryptedWebSocketOptions = {}) {
  return { host, ...(await listening(host, { noise: serverNoise(), ...options })) };
}

export function open(url: string, options: node.WebSocketClientOptions) {
  const transport = new node.WebSocketClientTransport(url, { token: 'alice-token', ...options });
  cleanup(() => transport.close());
  const closed = deferred();
  const received: { id?: unknown; result?: unknown; method?: string }[] = [];
  transport.onclose = () => closed.resolve();
  transport.onmessage = (message) => received.push(message as never);
  const call = (id: number, name: string, args: object = {}) =>
    transport.send(JSON.parse(modernRequest(id, 'tools/call', { name, arguments: args })));
  return { transport, received, closed: closed.promise, call };
}

/** An open WebSocket that offers Noise and is otherwise up to the test. */
export async function openSilent(url: string, protocol = nameOf('NK')) {
  const socket = new WebSocket(url, `mcp.${protocol}`, { perMessageDeflate: false });
  cleanup(async () => socket.terminate());
  const closed = deferred<number>();
  const frames: Buffer[] = [];
  socket.on('message', (data: Buffer) => frames.push(data));
  socket.on('error', () => {});
  socket.on('close', (code) => closed.resolve(code));
  await new Promise((resolve) => socket.once('open', resolve));
  return { socket, frames, closed: closed.promise };
}
