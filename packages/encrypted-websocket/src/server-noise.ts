import { type Clock, ConfigurationError } from '@mcp-blocks/core';
import { nodeCrypto } from './noise/node-crypto.js';
import { NoiseEndpoint, type NoiseServerOptions } from './noise/noise-endpoint.js';
import type { NoiseProtocolName } from './noise/protocol-name.js';

/** End-to-end encryption inside the WebSocket, at the server's end (Noise Protocol Framework, revision 34). */
export interface NoiseListenerOptions extends Omit<NoiseServerOptions, 'protocol'> {
  /**
   * The Noise protocols accepted, such as `Noise_NK_25519_AESGCM_SHA256`. A client offers exactly one and gets
   * that or nothing.
   */
  readonly protocols: readonly NoiseProtocolName[];
  /** Whether clients without Noise are refused. Default: true. */
  readonly required?: boolean;
}

/** What the options of a listener say about Noise, as an endpoint for each subprotocol. */
export type NoiseEndpoints = ReadonlyMap<string, NoiseEndpoint>;

/** @throws ConfigurationError naming the option; keys are never shown. */
export function noiseEndpoints(options: NoiseListenerOptions | undefined, clock: Clock, maxMessageBytes: number): NoiseEndpoints {
  if (options === undefined) return new Map();
  const { protocols, required: _required, ...rest } = options;
  if (!Array.isArray(protocols) || protocols.length === 0) {
    throw new ConfigurationError('noise.protocols', 'expected at least one Noise protocol');
  }
  const names = protocols as readonly NoiseProtocolName[];
  const named = rest.acceptPeer !== undefined && names.every((name) => name.startsWith('Noise_NK_'));
  if (named) throw new ConfigurationError('noise.acceptPeer', 'is for XK, IK and XX; NK has clients without a key');
  const environment = { crypto: nodeCrypto, clock, maxMessageBytes };
  return new Map(
    names.map((protocol) => {
      const { acceptPeer: _unused, ...common } = rest;
      const endpoint = new NoiseEndpoint('server', { ...(protocol.startsWith('Noise_NK_') ? common : rest), protocol }, environment);
      return [endpoint.subprotocol, endpoint];
    }),
  );
}
