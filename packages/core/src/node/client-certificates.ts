import { X509Certificate } from 'node:crypto';
import type { Server } from 'node:net';
import type { TLSSocket, TlsOptions } from 'node:tls';
import { ConfigurationError } from '../errors.js';

/** Asks clients for a certificate in the TLS handshake, which `clientCertificate()` makes a principal of. */
export interface ClientCertificateOptions {
  /** The certificates of the authorities that issue client certificates, PEM. No others are trusted. */
  readonly ca: string | Buffer | readonly (string | Buffer)[];
  /** Whether a client without one cannot connect. Default: true. */
  readonly required?: boolean;
}

/** What Node's TLS server is to do about client certificates. @throws ConfigurationError for authorities that are no certificates. */
export function clientCertificateTls(
  path: string,
  options: ClientCertificateOptions | undefined,
): Pick<TlsOptions, 'ca' | 'requestCert' | 'rejectUnauthorized'> {
  if (options === undefined) return {};
  const ca = [options.ca].flat() as (string | Buffer)[];
  if (ca.length === 0) throw new ConfigurationError(`${path}.ca`, 'expected at least one certificate');
  for (const [index, pem] of ca.entries()) {
    try {
      new X509Certificate(pem);
    } catch {
      throw new ConfigurationError(`${path}.ca[${index}]`, 'expected a certificate as PEM');
    }
  }
  return { ca, requestCert: true, rejectUnauthorized: options.required ?? true };
}

/** Where certificates are not required, Node lets untrusted ones in: hangs up on their owners. */
export function refuseUntrusted(server: Server, onRefused: (reason: string, remoteAddress: string | undefined) => void): void {
  server.prependListener('secureConnection', (socket: TLSSocket) => {
    if (socket.authorized || socket.getPeerCertificate().fingerprint256 === undefined) return;
    onRefused(`client certificate: ${String(socket.authorizationError)}`, socket.remoteAddress);
    socket.destroy();
  });
}
