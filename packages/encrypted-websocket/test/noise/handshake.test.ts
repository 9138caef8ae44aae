import { ManualClock } from '@mcp-blocks/core/testing';
import { describe, expect, it } from 'vitest';
import { NoiseError } from '../../src/noise/index.js';
import { BACKENDS, clientKeys, connect, endpoints, PROTOCOLS, serverKeys, shakeHands, text } from './support.js';

const BACKEND_PAIRS = (['node', 'noble'] as const).flatMap((client) =>
  (['node', 'noble'] as const).map((server) => [client, server] as const),
);

describe.each(BACKEND_PAIRS)('%s client, %s server', (client, server) => {
  it.each(PROTOCOLS)('%s carries messages both ways', (protocol) => {
    const pair = connect({ protocol, clientCrypto: BACKENDS[client], serverCrypto: BACKENDS[server], client: { rekeyAfterMessages: 2 } });
    for (let n = 0; n < 5; n += 1) {
      expect(pair.server.open(pair.client.seal(`ping ${n}`))).toMatchObject({ kind: 'message' });
      const event = pair.client.open(pair.server.seal(`pong ${n}`.repeat(30_000)));
      expect(event.kind === 'message' && text(event.bytes)).toBe(`pong ${n}`.repeat(30_000));
    }
    expect(pair.client.keyId).toBe(pair.server.keyId);
    expect(pair.client.handshakeHash).toEqual(pair.server.handshakeHash);
    expect(pair.client.algorithm).toBe(protocol);
    expect(pair.client.peerPublicKey).toBe(serverKeys.publicKey);
    expect(pair.server.peerPublicKey).toBe(protocol.includes('NK') ? undefined : clientKeys.publicKey);
  });
});

it('a wrong server key is refused by the server', () => {
  const { client, server } = endpoints({ client: { serverPublicKey: clientKeys.publicKey } });
  const clock = new ManualClock();
  expect(() => server.handshake(() => {}).receive(client.handshake(() => {}).start())).toThrow(NoiseError);
  expect(clock.pendingTimers).toBe(0);
  expect(() => shakeHands({ client, server })).toThrow(NoiseError);
});
