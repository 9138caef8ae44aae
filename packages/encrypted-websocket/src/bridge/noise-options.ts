import { readFile } from 'node:fs/promises';
import { decodeKey } from '../noise/keys.js';
import type { NoiseCipher } from '../noise/noise-crypto.js';
import type { NoiseClientOptions } from '../noise/noise-endpoint.js';
import { hasStaticKey, type NoisePattern, PATTERNS } from '../noise/protocol-name.js';
import { UsageError } from './usage-error.js';

/** What the command line says about Noise. */
export interface NoiseArguments {
  readonly pattern: NoisePattern;
  readonly cipher: NoiseCipher;
  /** The server's public key, or a file that holds it. */
  readonly serverKey: string;
  readonly clientKeyFile: string | undefined;
}

/** The values of the options as they were given. */
export interface NoiseValues {
  readonly noise?: string | undefined;
  readonly 'noise-cipher'?: string | undefined;
  readonly 'server-key'?: string | undefined;
  readonly 'client-key-file'?: string | undefined;
}

const CIPHERS: readonly string[] = ['AESGCM', 'ChaChaPoly'] satisfies NoiseCipher[];

/** @throws UsageError */
export function parseNoise(values: NoiseValues, url: URL): NoiseArguments | undefined {
  const { noise: pattern, 'noise-cipher': cipher = 'AESGCM', 'server-key': serverKey, 'client-key-file': clientKeyFile } = values;
  if (pattern === undefined) {
    const alone = (['noise-cipher', 'server-key', 'client-key-file'] as const).find((name) => values[name] !== undefined);
    if (alone !== undefined) throw new UsageError(`--${alone} needs --noise`);
    return undefined;
  }
  if (!/^wss?:$/.test(url.protocol)) throw new UsageError('--noise needs ws:// or wss://');
  if (!Object.hasOwn(PATTERNS, pattern)) throw new UsageError(`--noise: expected ${Object.keys(PATTERNS).join(', ')}`);
  if (!CIPHERS.includes(cipher)) throw new UsageError(`--noise-cipher: expected ${CIPHERS.join(', ')}`);
  if (serverKey === undefined) throw new UsageError('--noise needs --server-key');
  if (hasStaticKey(pattern as NoisePattern, 'initiator') !== (clientKeyFile !== undefined)) {
    throw new UsageError(
      clientKeyFile === undefined ? `--noise ${pattern} needs --client-key-file` : '--noise NK has no --client-key-file',
    );
  }
  return { pattern: pattern as NoisePattern, cipher: cipher as NoiseCipher, serverKey, clientKeyFile };
}

/**
 * The keys that {@link NoiseArguments} name, as options of a client. `secret` is given the private one.
 *
 * @throws UsageError for a file that cannot be read.
 * @throws ConfigurationError naming the option, for what is no key.
 */
export async function loadNoise(
  { pattern, cipher, serverKey, clientKeyFile }: NoiseArguments,
  secret: (key: string) => void,
): Promise<NoiseClientOptions> {
  const isKey = /^[\w-]{43}$/.test(serverKey);
  const serverPublicKey = isKey ? serverKey : await readKey('--server-key', serverKey, 'is neither a key nor a file that can be read');
  decodeKey('--server-key', serverPublicKey);
  const noise = { protocol: `Noise_${pattern}_25519_${cipher}_SHA256`, serverPublicKey } as const;
  if (clientKeyFile === undefined) return noise;
  const privateKey = await readKey('--client-key-file', clientKeyFile, 'the file cannot be read');
  decodeKey('--client-key-file', privateKey).fill(0);
  secret(privateKey);
  return { ...noise, privateKey };
}

async function readKey(option: string, file: string, otherwise: string): Promise<string> {
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw new UsageError(`${option}: ${otherwise} (${error.code})`);
  });
  return text.trim();
}
