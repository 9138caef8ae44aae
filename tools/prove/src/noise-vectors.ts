import { readFileSync } from 'node:fs';
import { HandshakeState, type NoiseCrypto, parseProtocolName } from '@mcp-blocks/encrypted-websocket/noise';

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

const FILE = new URL('../../../packages/encrypted-websocket/test/fixtures/noise-vectors.json', import.meta.url);
const EMPTY = new Uint8Array(0);

/** The published vectors that two libraries agree with, of how many. */
export function checkVectors(initiatorCrypto: NoiseCrypto, responderCrypto: NoiseCrypto): { held: number; of: number } {
  const { vectors } = JSON.parse(readFileSync(FILE, 'utf8')) as { vectors: readonly Vector[] };
  return { held: vectors.filter((vector) => holds(vector, initiatorCrypto, responderCrypto)).length, of: vectors.length };
}

function holds(vector: Vector, initiatorCrypto: NoiseCrypto, responderCrypto: NoiseCrypto): boolean {
  const protocol = parseProtocolName('protocol', vector.protocol_name);
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
  const agreed: boolean[] = [];
  let channels: readonly ReturnType<HandshakeState['split']>[] | undefined;
  for (const [turn, { payload, ciphertext }] of vector.messages.entries()) {
    const isInitiators = turn % 2 === 0;
    if (channels === undefined && initiator.isDone) channels = [initiator.split(), responder.split()];
    if (channels === undefined) {
      const [writer, reader] = isInitiators ? [initiator, responder] : [responder, initiator];
      const message = writer.writeMessage(bytes(payload));
      agreed.push(hex(message) === ciphertext, hex(reader.readMessage(message)) === payload);
    } else {
      const [sender, receiver] = isInitiators ? channels : [channels[1], channels[0]];
      const buffer = Buffer.concat([bytes(payload), new Uint8Array(16)]);
      sender?.send.encrypt(EMPTY, buffer, 0, buffer.length - 16);
      agreed.push(hex(buffer) === ciphertext, hex(receiver?.receive.decrypt(EMPTY, buffer) ?? EMPTY) === payload);
    }
  }
  for (const channel of channels ?? []) agreed.push(hex(channel.handshakeHash) === vector.handshake_hash);
  return agreed.length === 2 * vector.messages.length + 2 && agreed.every(Boolean);
}

function bytes(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text, 'hex'));
}

function hex(data: Uint8Array): string {
  return Buffer.from(data).toString('hex');
}
