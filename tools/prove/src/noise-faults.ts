import { createDecipheriv } from 'node:crypto';
import type { AeadKey, NoiseCrypto } from '@mcp-blocks/encrypted-websocket/noise';
import type { Fault } from './noise-link.ts';

const ZERO_NONCE = new Uint8Array(12);
const EMPTY = new Uint8Array(0);
const MESSAGE = 1;

/** Planted bugs, each of which the attacks or the rotation must bring to light. */
export const FAULTS: readonly Fault[] = [
  {
    name: 'nonces are not counted',
    crypto: withAead((key) => ({
      encrypt: (nonce, ad, ...where) => key.encrypt(isRekey(nonce) ? nonce : ZERO_NONCE, ad, ...where),
      decrypt: (_nonce, ad, text) => key.decrypt(ZERO_NONCE, ad, text),
    })),
  },
  {
    name: 'tags are not compared',
    crypto: withAead((key, bytes, cipher) => ({
      decrypt(nonce, ad, text) {
        if (text.length < 16) return undefined;
        const name = cipher === 'AESGCM' ? 'aes-256-gcm' : ('chacha20-poly1305' as 'aes-256-gcm');
        return key.decrypt(nonce, ad, text) ?? createDecipheriv(name, bytes, nonce, { authTagLength: 16 }).update(text.subarray(0, -16));
      },
    })),
  },
  {
    name: 'the last byte of a tag is not compared',
    crypto: withAead((key) => ({
      decrypt(nonce, ad, text) {
        const changed = new Uint8Array(text);
        for (let last = 0; last < 256; last += 1) {
          if (text.length > 0) changed[text.length - 1] = last;
          const plaintext = key.decrypt(nonce, ad, changed);
          if (plaintext !== undefined) return plaintext;
        }
        return undefined;
      },
    })),
  },
  {
    name: 'the type of a record is outside of what is authenticated',
    crypto: withAead((key) => ({
      encrypt(nonce, ad, buffer, offset, length) {
        if (isRekey(nonce) || length === 0) key.encrypt(nonce, ad, buffer, offset, length);
        else key.encrypt(nonce, ad, buffer, offset + 1, length - 1);
      },
      decrypt(nonce, ad, text) {
        if (text.length <= 16) return key.decrypt(nonce, ad, text);
        const rest = key.decrypt(nonce, ad, text.subarray(1));
        return rest === undefined ? undefined : Buffer.concat([text.subarray(0, 1), rest]);
      },
    })),
  },
  { name: 'the associated data is left out', crypto: withAead((key) => withoutAd(key)) },
  {
    name: 'the receiver forgets to change its key',
    atReceiverOnly: true,
    crypto: withAead((key, bytes) => ({ encrypt: (nonce, ...rest) => encryptOrKeep(key, bytes, nonce, ...rest) })),
  },
  {
    name: 'neither end changes its key',
    crypto: withAead((key, bytes) => ({ encrypt: (nonce, ...rest) => encryptOrKeep(key, bytes, nonce, ...rest) })),
  },
  { name: 'the end of a frame that says more is to follow counts as whole', crypto: withTypes((type) => (type === 0 ? MESSAGE : type)) },
  { name: 'unknown types count as messages', crypto: withTypes((type) => (type > 6 ? MESSAGE : type)) },
  { name: 'a later greeting counts as a message', crypto: withLaterGreetings() },
  { name: 'a record without a type counts as a message', crypto: withEmpty() },
  {
    name: 'what the library throws comes through',
    crypto: withAead((key) => ({
      decrypt(nonce, ad, text) {
        const plaintext = key.decrypt(nonce, ad, text);
        if (plaintext === undefined) throw new Error('invalid tag');
        return plaintext;
      },
    })),
  },
  { name: 'points of low order are accepted', crypto: (crypto) => ({ ...crypto, ...lenientKeyPairs(crypto) }) },
  { name: 'all channels have the same keys', keys: () => ({ toReceiver: new Uint8Array(32), toSender: new Uint8Array(32).fill(1) }) },
  { name: 'both directions have the same key', keys: ({ toReceiver }) => ({ toReceiver, toSender: toReceiver }) },
];

type Cipher = Parameters<NoiseCrypto['aead']>[0];

/** Replaces methods of every key; `bytes` are the key itself. */
function withAead(change: (key: AeadKey, bytes: Uint8Array, cipher: Cipher) => Partial<AeadKey>) {
  return (crypto: NoiseCrypto): NoiseCrypto => ({
    ...crypto,
    aead(cipher, bytes) {
      const key = crypto.aead(cipher, bytes);
      const changed = change(key, new Uint8Array(bytes), cipher);
      return {
        encrypt: changed.encrypt ?? ((...args) => key.encrypt(...args)),
        decrypt: changed.decrypt ?? ((...args) => key.decrypt(...args)),
        destroy: () => key.destroy(),
      };
    },
  });
}

function withTypes(change: (type: number) => number) {
  return withAead((key) => ({
    decrypt(nonce, ad, text) {
      const plaintext = key.decrypt(nonce, ad, text);
      if (ad.length === 0 && plaintext?.[0] !== undefined) plaintext[0] = change(plaintext[0]);
      return plaintext;
    },
  }));
}

function withLaterGreetings() {
  return withAead((key) => ({
    decrypt(nonce, ad, text) {
      const plaintext = key.decrypt(nonce, ad, text);
      const isLater = nonce.some((byte) => byte !== 0);
      if (isLater && (plaintext?.[0] === 4 || plaintext?.[0] === 5)) plaintext[0] = MESSAGE;
      return plaintext;
    },
  }));
}

function withEmpty() {
  return withAead((key) => ({
    decrypt(nonce, ad, text) {
      const plaintext = key.decrypt(nonce, ad, text);
      return ad.length === 0 && plaintext?.length === 0 ? Uint8Array.of(MESSAGE) : plaintext;
    },
  }));
}

function withoutAd(key: AeadKey): Partial<AeadKey> {
  return {
    encrypt: (nonce, _ad, ...where) => key.encrypt(nonce, EMPTY, ...where),
    decrypt: (nonce, _ad, text) => key.decrypt(nonce, EMPTY, text),
  };
}

/** Rekey() that finds the old key again. */
function encryptOrKeep(key: AeadKey, bytes: Uint8Array, ...[nonce, ad, buffer, offset, length]: Parameters<AeadKey['encrypt']>): void {
  if (isRekey(nonce)) buffer.set(bytes, offset);
  else key.encrypt(nonce, ad, buffer, offset, length);
}

function isRekey(nonce: Uint8Array): boolean {
  return nonce.subarray(4).every((byte) => byte === 0xff);
}

function lenientKeyPairs(crypto: NoiseCrypto): Pick<NoiseCrypto, 'generateKeyPair' | 'keyPair'> {
  const lenient = (pair: ReturnType<NoiseCrypto['keyPair']>) => ({
    publicKey: pair.publicKey,
    dh: (publicKey: Uint8Array) => pair.dh(publicKey) ?? new Uint8Array(32),
    destroy: () => pair.destroy(),
  });
  return { generateKeyPair: () => lenient(crypto.generateKeyPair()), keyPair: (privateKey) => lenient(crypto.keyPair(privateKey)) };
}
