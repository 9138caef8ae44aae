import { readFileSync } from 'node:fs';
import type { NoiseProtocolName } from '@mcp-blocks/encrypted-websocket';

/** One kind of connection that is measured. */
export interface Kind {
  readonly id: 'ws' | 'wss' | 'ours-ws' | 'ours-wss' | 'noise-aes' | 'noise-chacha';
  /** In tables. */
  readonly title: string;
  /** Whether both ends are this project's; else both are plain `ws`. */
  readonly ours: boolean;
  readonly tls: boolean;
  readonly noise?: NoiseProtocolName;
}

/** The first is the limit that ratios refer to. */
export const KINDS: readonly Kind[] = [
  { id: 'ws', title: 'plain `ws`', ours: false, tls: false },
  { id: 'wss', title: 'plain `ws` over TLS', ours: false, tls: true },
  { id: 'ours-ws', title: 'ours, WS', ours: true, tls: false },
  { id: 'ours-wss', title: 'ours, WSS', ours: true, tls: true },
  { id: 'noise-aes', title: 'ours, Noise (AESGCM) in WS', ours: true, tls: false, noise: 'Noise_NK_25519_AESGCM_SHA256' },
  { id: 'noise-chacha', title: 'ours, Noise (ChaChaPoly) in WS', ours: true, tls: false, noise: 'Noise_NK_25519_ChaChaPoly_SHA256' },
];

/** @throws Error for an id that there is not. */
export function kindOf(id: string): Kind {
  const kind = KINDS.find((known) => known.id === id);
  if (kind === undefined) throw new Error(`there is no kind '${id}'`);
  return kind;
}

const certificate = (name: string) =>
  readFileSync(new URL(`../../../../packages/encrypted-websocket/test/fixtures/test-only-${name}`, import.meta.url));

/** The server's end of TLS and, for clients, what to trust. */
export const serverTls = () => ({ key: certificate('server.key'), cert: certificate('server.pem') });
export const trustedCa = () => certificate('ca.pem');

/** Alice's of RFC 7748, section 6.1: everybody has it, which does for measurements. */
export const NOISE_KEYS = {
  privateKey: 'dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo',
  publicKey: 'hSDwCYkwp1R0i33ctD73Wg2_Og0mOBr066SpjqqbTmo',
};
