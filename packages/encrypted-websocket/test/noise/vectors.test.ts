import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { HandshakeState, nobleCrypto, parseProtocolName } from '../../src/noise/index.js';
import { nodeCrypto } from '../../src/noise/node-crypto.js';

interface Vector {
  readonly protocol_name: string;
  readonly init_prologue: string;
  readonly init_ephemeral: string;
  readonly init_static?: string;
  readonly init_remote_static?: string;
  readonly resp_prologue: string;
  readonly resp_ephemeral: string;
  readonly resp_static: string;
  readonly handshake_hash: string;
  readonly messages: readonly { readonly payload: string; readonly ciphertext: string }[];
}

const file = readFileSync(new URL('../fixtures/noise-vectors.json', import.meta.url), 'utf8');
const { vectors } = JSON.parse(file) as { vectors: readonly Vector[] };
const BACKENDS = { node: nodeCrypto, noble: nobleCrypto };
const PAIRS = (['node', 'noble'] as const).flatMap((initiator) =>
  (['node', 'noble'] as const).map((responder) => ({ initiator, responder })),
);

const bytes = (hex: string) => Uint8Array.from(Buffer.from(hex, 'hex'));
const hex = (data: Uint8Array | undefined) => (data === undefined ? 'refused' : Buffer.from(data).toString('hex'));

describe.each(PAIRS)('published vectors, $initiator to $responder', (names) => {
  it.each(vectors.map((vector) => [vector.protocol_name, vector] as const))('%s', (name, vector) => {
    const [initiatorCrypto, responderCrypto] = [BACKENDS[names.initiator], BACKENDS[names.responder]];
    const protocol = parseProtocolName('protocol', name);
    const initiator = new HandshakeState({
      crypto: initiatorCrypto,
      protocol,
      initiator: true,
      prologue: bytes(vector.init_prologue),
      staticKey: vector.init_static === undefined ? undefined : initiatorCrypto.keyPair(bytes(vector.init_static)),
      remoteStaticKey: vector.init_remote_static === undefined ? undefined : bytes(vector.init_remote_static),
      ephemeralKey: initiatorCrypto.keyPair(bytes(vector.init_ephemeral)),
    });
    const responder = new HandshakeState({
      crypto: responderCrypto,
      protocol,
      initiator: false,
      prologue: bytes(vector.resp_prologue),
      staticKey: responderCrypto.keyPair(bytes(vector.resp_static)),
      ephemeralKey: responderCrypto.keyPair(bytes(vector.resp_ephemeral)),
    });
    const messages = [...vector.messages];
    let turn = 0;
    for (; !initiator.isDone; turn += 1) {
      const { payload, ciphertext } = messages[turn]!;
      const [writer, reader] = turn % 2 === 0 ? [initiator, responder] : [responder, initiator];
      const message = writer.writeMessage(bytes(payload));
      expect(hex(message)).toBe(ciphertext);
      expect(hex(reader.readMessage(message))).toBe(payload);
    }
    const ends = [initiator.split(), responder.split()] as const;
    for (const end of ends) expect(hex(end.handshakeHash)).toBe(vector.handshake_hash);
    expect(messages.length).toBeGreaterThan(turn + 1);
    for (; turn < messages.length; turn += 1) {
      const { payload, ciphertext } = messages[turn]!;
      const [sender, receiver] = turn % 2 === 0 ? ends : [ends[1], ends[0]];
      const length = payload.length / 2;
      const buffer = new Uint8Array(length + 16);
      buffer.set(bytes(payload));
      sender.send.encrypt(new Uint8Array(0), buffer, 0, length);
      expect(hex(buffer)).toBe(ciphertext);
      expect(hex(receiver.receive.decrypt(new Uint8Array(0), buffer))).toBe(payload);
    }
  });
});
