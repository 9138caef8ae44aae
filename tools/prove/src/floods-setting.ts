/** What is as it should be, and what is not, for a bug to be found out. */
export interface ServerSetting {
  readonly maxHandshakes: number;
  readonly handshakeTimeoutMs: number;
  readonly maxMessageBytes: number;
  readonly maxBufferedBytes: number;
  readonly slowReaderTimeoutMs: number;
}

/** Ports of the listeners. */
export interface Ports {
  readonly ws: number;
  readonly wss: number;
  readonly noise: number;
}

/** What the server tells of itself. */
export interface Usage {
  /** Objects and what they hold outside the heap, after full collections. */
  readonly heapBytes: number;
  /** The process, as the operating system counts it: now, and the most since it was asked before. */
  readonly residentBytes: number;
  readonly peakResidentBytes: number;
  /** Sockets that it has open. */
  readonly sockets: number;
  /** The most since it was asked before. */
  readonly peakSockets: number;
}

/** Alice's of RFC 7748, section 6.1. */
export const NOISE_KEYS = {
  privateKey: 'dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo',
  publicKey: 'hSDwCYkwp1R0i33ctD73Wg2_Og0mOBr066SpjqqbTmo',
};
export const NOISE_PROTOCOL = 'Noise_NK_25519_AESGCM_SHA256';

/** Bytes of what the tool `long` answers. */
export const LONG_BYTES = 262_144;
