import { type IncomingMessage, STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';
import { type AuthenticationRequest, RpcError, toWireError } from '@mcp-blocks/core';
import { clientCertificateOf } from '@mcp-blocks/core/node';
import { credentialParameter, NOISE_SUBPROTOCOL_PREFIX, SUBPROTOCOL, TOKEN_SUBPROTOCOL_PREFIX } from './subprotocols.js';

/** What an upgrade request says. */
export interface Handshake {
  /** The one subprotocol that is both offered and accepted. */
  readonly protocol: string;
  /** What authenticators look at, the browser's token as if it had come in `Authorization`. */
  readonly caller: AuthenticationRequest;
}

/**
 * Checks what needs no authenticator: the URL holds no credential and the client offers a subprotocol of ours.
 *
 * @param accepted - the subprotocols that this server speaks.
 * @throws RpcError `invalid_request`.
 */
export function readHandshake(request: IncomingMessage, accepted: readonly string[]): Handshake {
  const url = parseTarget(request);
  if (url === undefined) throw new RpcError('invalid_request', 'The request target is not a path');
  const parameter = credentialParameter(url.searchParams);
  if (parameter !== undefined) {
    throw new RpcError(
      'invalid_request',
      `Query parameter '${parameter}': credentials are not accepted in the URL; use the Authorization or X-API-Key header`,
      { auditReason: 'credential in the URL' },
    );
  }
  const protocols = (request.headers['sec-websocket-protocol'] ?? '').split(',').map((entry) => entry.trim());
  const protocol = protocolOf(protocols, accepted);
  const token = protocolToken(protocols);
  const { authorization } = request.headers;
  if (token !== undefined && authorization !== undefined) {
    throw new RpcError('invalid_request', 'Present the token in the Authorization header or as a subprotocol, not both', {
      auditReason: 'two credentials',
    });
  }
  if (protocol !== SUBPROTOCOL && (token ?? authorization ?? request.headers['x-api-key']) !== undefined) {
    throw new RpcError('invalid_request', 'With Noise, credentials go into the channel and not into the upgrade request', {
      auditReason: 'credential outside of Noise',
    });
  }
  const remoteAddress = request.socket.remoteAddress;
  const clientCertificate = clientCertificateOf(request.socket);
  const caller: AuthenticationRequest = {
    transport: 'websocket',
    header(name) {
      if (name === 'authorization' && token !== undefined) return `Bearer ${token}`;
      const value = request.headers[name];
      return Array.isArray(value) ? value.join(', ') : value;
    },
    ...(remoteAddress === undefined ? {} : { remoteAddress }),
    ...(clientCertificate === undefined ? {} : { clientCertificate }),
  };
  return { protocol, caller };
}

/**
 * Nothing is chosen from among several, so that nobody in between can have the worst one chosen by taking
 * the others away.
 */
function protocolOf(offered: readonly string[], accepted: readonly string[]): string {
  const ours = offered.filter((entry) => entry === SUBPROTOCOL || entry.startsWith(NOISE_SUBPROTOCOL_PREFIX));
  const [protocol] = ours;
  if (protocol !== undefined && ours.length === 1 && accepted.includes(protocol)) return protocol;
  const wanted = accepted.map((entry) => `'${entry}'`).join(' or ');
  throw new RpcError('invalid_request', `Sec-WebSocket-Protocol: offer ${wanted}`, { auditReason: 'subprotocol' });
}

/** The path and query of an upgrade request; `undefined` when they do not parse. */
export function parseTarget(request: IncomingMessage): URL | undefined {
  const target = request.url ?? '';
  // A target such as `//host/path` would be read as another authority.
  return target.startsWith('/') ? (URL.parse(`http://localhost${target}`) ?? undefined) : undefined;
}

function protocolToken(protocols: readonly string[]): string | undefined {
  const entries = protocols.filter((entry) => entry.startsWith(TOKEN_SUBPROTOCOL_PREFIX));
  const [entry] = entries;
  if (entry === undefined) return undefined;
  const encoded = entry.slice(TOKEN_SUBPROTOCOL_PREFIX.length);
  const token = Buffer.from(encoded, 'base64url').toString();
  // What came is exactly one token that a header could carry.
  if (entries.length > 1 || !/^[\x21-\x7e]+$/.test(token) || Buffer.from(token).toString('base64url') !== encoded) {
    throw new RpcError('unauthenticated', `Sec-WebSocket-Protocol: expected one '${TOKEN_SUBPROTOCOL_PREFIX}<base64url token>'`, {
      auditReason: 'malformed token',
    });
  }
  return token;
}

/** Answers an upgrade request with an HTTP error instead of an upgrade, and ends the socket. */
export function refuseUpgrade(socket: Duplex, error: unknown, status?: number): void {
  const wire = toWireError(error);
  const code = status ?? (wire.httpStatus === 200 ? 500 : wire.httpStatus);
  const body = JSON.stringify({
    jsonrpc: '2.0',
    id: null,
    error: { code: wire.code, message: wire.message, ...(wire.data === undefined ? {} : { data: wire.data }) },
  });
  const headers: Record<string, string | number> = {
    ...(code === 401 ? { 'www-authenticate': 'Bearer' } : {}),
    ...wire.headers,
    connection: 'close',
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(body),
  };
  const head = Object.entries(headers).map(([name, value]) => `${name}: ${String(value).replace(/[\r\n]+/g, ' ')}\r\n`);
  socket.once('finish', () => socket.destroy());
  socket.end(`HTTP/1.1 ${code} ${STATUS_CODES[code] ?? ''}\r\n${head.join('')}\r\n${body}`);
}
