import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import type { ClientCertificate, SubjectAltName } from '../identity.js';

/**
 * The certificate that the client of a TLS connection presented, if it did and it was verified against the
 * server's `ca`. A server asks for one with `requestCert`.
 */
export function clientCertificateOf(socket: Socket): ClientCertificate | undefined {
  if (!(socket instanceof TLSSocket) || !socket.authorized) return undefined;
  const certificate = socket.getPeerCertificate();
  // What Node gives for no certificate is an empty object.
  if (certificate.fingerprint256 === undefined) return undefined;
  return {
    subject: { ...certificate.subject } as ClientCertificate['subject'],
    issuer: { ...certificate.issuer } as ClientCertificate['issuer'],
    subjectAltNames: subjectAltNames(certificate.subjectaltname ?? ''),
    fingerprint256: certificate.fingerprint256.replaceAll(':', '').toLowerCase(),
    expiresAt: Date.parse(certificate.valid_to),
  };
}

/** Takes `DNS:a.test, URI:spiffe://b` apart. A value that could be taken for more than one is quoted as in JSON. */
function subjectAltNames(text: string): readonly SubjectAltName[] {
  return [...text.matchAll(/([^:,"]+):("(?:[^"\\]|\\.)*"|[^,]*)(?:, |$)/g)].map(([, type = '', value = '']) => ({
    type,
    value: value.startsWith('"') ? (JSON.parse(value) as string) : value,
  }));
}
