import { type AuthenticationRequest, isJsonObject, type JsonObject } from '@mcp-blocks/core';
import { invalidToken } from '../authentication.js';

/**
 * Checks that whoever presents a token owns the key it is bound to (`cnf`, RFC 7800): the certificate of the
 * connection for `x5t#S256` (RFC 8705, section 3). Any other binding is refused, DPoP's `jkt` (RFC 9449) too:
 * what is not verified must not pass for a bearer token.
 *
 * @throws RpcError `unauthenticated`.
 */
export function checkConfirmation({ cnf }: JsonObject, { clientCertificate }: AuthenticationRequest): void {
  if (cnf === undefined) return;
  const members = isJsonObject(cnf) ? Object.keys(cnf) : [];
  if (!isJsonObject(cnf) || members.length !== 1 || members[0] !== 'x5t#S256') {
    throw invalidToken('The token is bound to a key in a way that is not supported', `cnf: ${members.join(', ').slice(0, 100)}`);
  }
  const thumbprint = clientCertificate && Buffer.from(clientCertificate.fingerprint256, 'hex').toString('base64url');
  if (thumbprint === undefined) throw invalidToken('The token is bound to a client certificate', 'cnf without certificate');
  if (cnf['x5t#S256'] !== thumbprint) throw invalidToken('The token is bound to another client certificate', 'cnf of another certificate');
}
