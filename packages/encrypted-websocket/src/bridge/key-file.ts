import { writeFile } from 'node:fs/promises';
import { newNoiseKeyPair } from '../noise/index.js';
import { nodeCrypto } from '../noise/node-crypto.js';
import { UsageError } from './usage-error.js';

/**
 * Makes a key pair for Noise and writes its private key to a new file that only the owner can read.
 *
 * @returns the public key.
 * @throws UsageError where the file exists already or cannot be written.
 */
export async function writeKeyPair(file: string): Promise<string> {
  const { publicKey, privateKey } = newNoiseKeyPair(nodeCrypto);
  await writeFile(file, `${privateKey}\n`, { mode: 0o600, flag: 'wx' }).catch((error: NodeJS.ErrnoException) => {
    throw new UsageError(
      error.code === 'EEXIST' ? 'keygen: the file exists already' : `keygen: the file cannot be written (${error.code})`,
    );
  });
  return publicKey;
}
