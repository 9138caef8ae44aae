import { ConfigurationError } from '@mcp-blocks/core';
import { KEY_BYTES, type NoiseCipher, TAG_BYTES } from './noise-crypto.js';

/** Handshake patterns (Noise revision 34, section 7.5). */
export type NoisePattern = 'NK' | 'XK' | 'IK' | 'XX';

/** Full names of the supported Noise protocols, as in `Noise_NK_25519_AESGCM_SHA256`. */
export type NoiseProtocolName = `Noise_${NoisePattern}_25519_${NoiseCipher}_SHA256`;

/** Tokens of message patterns (section 7.1). */
export type Token = 'e' | 's' | 'ee' | 'es' | 'se' | 'ss';

interface Pattern {
  /** Whether the initiator knows the responder's static key beforehand (pre-message `<- s`). */
  readonly knowsResponder: boolean;
  /** The messages, the initiator's first, by turns. */
  readonly messages: readonly (readonly Token[])[];
}

/** The supported patterns. */
export const PATTERNS: Readonly<Record<NoisePattern, Pattern>> = {
  NK: {
    knowsResponder: true,
    messages: [
      ['e', 'es'],
      ['e', 'ee'],
    ],
  },
  XK: {
    knowsResponder: true,
    messages: [
      ['e', 'es'],
      ['e', 'ee'],
      ['s', 'se'],
    ],
  },
  IK: {
    knowsResponder: true,
    messages: [
      ['e', 'es', 's', 'ss'],
      ['e', 'ee', 'se'],
    ],
  },
  XX: {
    knowsResponder: false,
    messages: [['e'], ['e', 'ee', 's', 'es'], ['s', 'se']],
  },
};

/** What the name of a protocol says. */
export interface NoiseProtocol {
  readonly name: NoiseProtocolName;
  readonly pattern: NoisePattern;
  readonly cipher: NoiseCipher;
}

const NAME = /^Noise_(NK|XK|IK|XX)_25519_(AESGCM|ChaChaPoly)_SHA256$/;

/** @throws ConfigurationError naming `option` if the protocol is not one of the supported ones. */
export function parseProtocolName(option: string, name: string): NoiseProtocol {
  const [, pattern, cipher] = NAME.exec(name) ?? [];
  if (pattern === undefined) {
    throw new ConfigurationError(option, `expected Noise_{NK,XK,IK,XX}_25519_{AESGCM,ChaChaPoly}_SHA256, got '${name}'`);
  }
  return { name: name as NoiseProtocolName, pattern: pattern as NoisePattern, cipher: cipher as NoiseCipher };
}

/** Whether the pattern has the given end show a static key of its own. */
export function hasStaticKey(pattern: NoisePattern, end: 'initiator' | 'responder'): boolean {
  return end === 'responder' || pattern !== 'NK';
}

/** Bytes of each handshake message of a pattern when the payloads are empty. */
export function messageSizes(pattern: NoisePattern): readonly number[] {
  let hasKey = false;
  return PATTERNS[pattern].messages.map((tokens) => {
    let size = 0;
    for (const token of tokens) {
      if (token === 'e') size += KEY_BYTES;
      else if (token === 's') size += KEY_BYTES + (hasKey ? TAG_BYTES : 0);
      else hasKey = true;
    }
    return size + (hasKey ? TAG_BYTES : 0);
  });
}
