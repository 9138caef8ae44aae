import { createHash, X509Certificate } from 'node:crypto';
import { ConfigurationError, RpcError } from '@mcp-blocks/core';

const SPKI_PREFIX = 'sha256/';

/**
 * Certificates that a server may present. Each pin is either `sha256/` and the base64 SHA-256 of the
 * certificate's SubjectPublicKeyInfo (the form of RFC 7469, section 2.4), which survives a renewal with the same
 * key; or the SHA-256 of the whole certificate in hexadecimal, with or without colons, as
 * `openssl x509 -fingerprint -sha256` prints it.
 */
export class CertificatePins {
  readonly #spki = new Set<string>();
  readonly #fingerprints = new Set<string>();

  /** @throws ConfigurationError for a pin in neither form, and for none at all. */
  constructor(option: string, pins: readonly string[]) {
    if (pins.length === 0) throw new ConfigurationError(option, 'expected at least one pin');
    for (const [index, pin] of pins.entries()) {
      const hex = pin.replaceAll(':', '').toLowerCase();
      const key = Buffer.from(pin.slice(SPKI_PREFIX.length), 'base64');
      if (pin.startsWith(SPKI_PREFIX) && key.byteLength === 32 && key.toString('base64') === pin.slice(SPKI_PREFIX.length)) {
        this.#spki.add(pin);
      } else if (/^[\da-f]{64}$/.test(hex)) {
        this.#fingerprints.add(hex);
      } else {
        throw new ConfigurationError(`${option}[${index}]`, `expected 'sha256/<base64>' or a SHA-256 fingerprint in hex, got '${pin}'`);
      }
    }
  }

  /**
   * @param certificate - the server's own certificate in DER.
   * @returns the `RpcError` `forbidden` (`data.reason` is `certificate_pin`) for one that no pin is for.
   */
  check(certificate: Buffer): RpcError | undefined {
    const { publicKey, fingerprint256 } = new X509Certificate(certificate);
    if (this.#fingerprints.has(fingerprint256.replaceAll(':', '').toLowerCase())) return undefined;
    const spki = createHash('sha256')
      .update(publicKey.export({ type: 'spki', format: 'der' }))
      .digest('base64');
    if (this.#spki.has(SPKI_PREFIX + spki)) return undefined;
    return new RpcError('forbidden', `The server's certificate matches none of the pins; its key is ${SPKI_PREFIX}${spki}`, {
      data: { reason: 'certificate_pin' },
    });
  }
}
