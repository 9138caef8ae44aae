import type { NoiseChannel } from './noise/noise-channel.js';
import type { NoiseProtocolName } from './noise/protocol-name.js';
import { SUBPROTOCOL } from './subprotocols.js';

/** What is true of an open connection. What is sealed is sealed end to end; `secure` is about the way to the next hop. */
export interface SessionInfo {
  /** The server's name for this connection, for finding it in the server's logs; `undefined` where none was told. */
  readonly sessionId: string | undefined;
  /** Whether TLS protects it, as far as this end can tell: a server behind a proxy that ends TLS cannot. */
  readonly secure: boolean;
  /** The subprotocol agreed on: `mcp`, or that of a Noise protocol. */
  readonly protocol: string;
  /** The Noise protocol. Absent without one, as all below. */
  readonly algorithm?: NoiseProtocolName;
  /** A name for the keys in use: the same at both ends while nothing is under way, and another after each change. */
  readonly keyId?: string;
  /** The peer's static public key, base64url; `undefined` for a client that has none (NK). */
  readonly peerKey?: string | undefined;
  /** Whether what is sent now stays secret if the static keys become known later. */
  readonly forwardSecrecy?: boolean;
}

export function sessionInfo(sessionId: string | undefined, secure: boolean, channel: NoiseChannel | undefined): SessionInfo {
  if (channel === undefined) return { sessionId, secure, protocol: SUBPROTOCOL };
  const { algorithm, keyId, peerPublicKey, forwardSecrecy } = channel;
  return { sessionId, secure, protocol: `${SUBPROTOCOL}.${algorithm}`, algorithm, keyId, peerKey: peerPublicKey, forwardSecrecy };
}
