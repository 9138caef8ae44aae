import type { AuthenticationRequest, Authenticator, ClientCertificate, Principal } from '@mcp-blocks/core';
import { invalidToken } from '../authentication.js';

/** Whom a certificate stands for: an `id`, and what else differs from the defaults. */
type CertificateOwner = Pick<Principal, 'id'> & Partial<Principal>;

/** Options of {@link clientCertificate}. */
export interface ClientCertificateAuthenticatorOptions {
  /**
   * Whom a certificate stands for; `undefined` refuses it. Default: the first URI of the subject's
   * alternative names, else the first DNS name, else the subject's common name; no roles and no scopes.
   */
  readonly map?: (certificate: ClientCertificate) => CertificateOwner | undefined;
}

/**
 * Authenticates by the certificate the client proved to own in the TLS handshake (mTLS). The listener asks
 * for it: `http({ tls: { clientCertificates: { ca } } })`. Identities end with their certificate.
 *
 * Where certificates only protect the connection and tokens say who calls, put the authenticator of the
 * tokens first.
 */
export function clientCertificate(options: ClientCertificateAuthenticatorOptions = {}): Authenticator {
  const { map = defaultPrincipal } = options;
  return {
    name: 'client-certificate',
    async authenticate({ clientCertificate: certificate }: AuthenticationRequest): Promise<Principal | undefined> {
      if (certificate === undefined) return undefined;
      const principal = map(certificate);
      if (principal === undefined || principal.id === '')
        throw invalidToken('The client certificate is not accepted here', 'unknown client certificate');
      return {
        authentication: 'client-certificate',
        roles: [],
        scopes: [],
        issuer: nameOf(certificate.issuer),
        ...principal,
        expiresAt: Math.min(certificate.expiresAt, principal.expiresAt ?? certificate.expiresAt),
      };
    },
  };
}

function defaultPrincipal({ subject, subjectAltNames }: ClientCertificate): CertificateOwner | undefined {
  const named = (wanted: string) => subjectAltNames.find(({ type }) => type === wanted)?.value;
  const common = subject.CN;
  const id = named('URI') ?? named('DNS') ?? (typeof common === 'string' ? common : undefined);
  return id === undefined ? undefined : { id };
}

/** A distinguished name that no other equals: `["CN=…","O=…"]`. */
function nameOf(attributes: ClientCertificate['issuer']): string {
  return JSON.stringify(Object.entries(attributes).flatMap(([name, value]) => [value].flat().map((one) => `${name}=${one}`)));
}
