import type { NoiseProtocolName } from '@mcp-blocks/encrypted-websocket';
import { z } from 'zod';
import { type SchemaParts, text, texts, whole } from './parts.js';

const PATTERNS = ['NK', 'XK', 'IK', 'XX'] as const;
const CIPHERS = ['AESGCM', 'ChaChaPoly'] as const;
const PROTOCOLS = PATTERNS.flatMap((pattern) => CIPHERS.map((cipher): NoiseProtocolName => `Noise_${pattern}_25519_${cipher}_SHA256`));

export const noiseProtocol = z.enum(PROTOCOLS as [NoiseProtocolName, ...NoiseProtocolName[]]);

/** Where the gateway is reached, and the bounds of its connections. */
export function listenSchemas({ secret, value, path }: SchemaParts) {
  const webSocket = z.strictObject({
    path: text.exactOptional(),
    noise: z
      .strictObject({
        protocols: z.array(noiseProtocol),
        privateKey: secret,
        required: z.boolean().exactOptional(),
        rekeyAfterMessages: whole.exactOptional(),
        keyRotationIntervalMs: whole.exactOptional(),
      })
      .exactOptional(),
    heartbeatIntervalMs: whole.exactOptional(),
    heartbeatTimeoutMs: whole.exactOptional(),
    handshakeTimeoutMs: whole.exactOptional(),
    maxConnections: whole.exactOptional(),
    maxHandshakes: whole.exactOptional(),
    maxBufferedBytes: whole.exactOptional(),
    slowReaderTimeoutMs: whole.exactOptional(),
  });
  const listen = z.strictObject({
    port: z
      .int('expected a whole number')
      .min(0, 'expected 0 or more')
      .max(65_535, 'expected at most 65535')
      .describe('0 takes a free one'),
    host: text.describe('Address to listen on; 127.0.0.1 by default').exactOptional(),
    path: text.describe('The MCP endpoint; /mcp by default').exactOptional(),
    tls: z
      .strictObject({
        certFile: path,
        keyFile: path,
        reloadIntervalMs: whole.exactOptional(),
        minVersion: z.enum(['TLSv1.2', 'TLSv1.3']).exactOptional(),
        clientCertificates: z.strictObject({ ca: value, required: z.boolean().exactOptional() }).exactOptional(),
      })
      .describe('Serves HTTPS')
      .exactOptional(),
    allowedHosts: texts.describe('Hostnames accepted in Host; required where host is not loopback').exactOptional(),
    allowedOrigins: texts.describe('Hostnames accepted in Origin, also by CORS').exactOptional(),
    allowedAddresses: texts.exactOptional(),
    deniedAddresses: texts.exactOptional(),
    trustedProxies: texts.exactOptional(),
    maxConnectionsPerIp: whole.exactOptional(),
    headersTimeoutMs: whole.exactOptional(),
    bodyTimeoutMs: whole.exactOptional(),
    writeTimeoutMs: whole.exactOptional(),
    keepAliveTimeoutMs: whole.exactOptional(),
    drainDelayMs: whole.describe('Between /readyz answering 503 and the port closing').exactOptional(),
    maxSubscriptionsPerPrincipal: whole.exactOptional(),
    maxBufferedBytes: whole.exactOptional(),
    sessions: z
      .strictObject({
        idleTimeoutMs: whole.exactOptional(),
        maxSessions: whole.exactOptional(),
        maxSessionsPerPrincipal: whole.exactOptional(),
        replayBufferBytes: whole.exactOptional(),
        maxEventsPerSession: whole.exactOptional(),
      })
      .describe('Legacy sessions; kept in `state` where there is one')
      .exactOptional(),
    webSocket: webSocket.describe('Serves MCP over WebSocket too, on the same port; {} is enough').exactOptional(),
    metrics: z
      .strictObject({ path: text.exactOptional(), allow: texts.exactOptional(), token: secret.exactOptional() })
      .describe('A page for Prometheus, /metrics by default; {} is enough')
      .exactOptional(),
  });
  const limits = z.strictObject({
    requestTimeoutMs: whole.exactOptional(),
    maxMessageBytes: whole.exactOptional(),
    maxJsonDepth: whole.exactOptional(),
    maxInFlight: whole.exactOptional(),
    maxConnections: whole.exactOptional(),
  });
  return { listen, limits: limits.exactOptional() };
}
