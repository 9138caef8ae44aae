import { createHmac, createPublicKey, type JsonWebKey } from 'node:crypto';
import { AUDIENCE, ISSUER, isSignature, NOW, type Signer } from './tokens-issuer.ts';

/** Bugs that verifiers of tokens have had. */
export const FAULTS = [
  'takes the algorithm from the token',
  'accepts none',
  'does not verify the signature',
  'takes the key from the token',
  'ignores exp',
  'ignores nbf',
  'ignores aud',
  'ignores iss',
  'compares aud by prefix',
  'ignores crit',
  'ignores typ',
  'reads base64 leniently',
  'takes the last of two equal claims',
  'has no longest token',
  'ignores cnf',
] as const;
export type Fault = (typeof FAULTS)[number];

/**
 * A verifier of its own, written from the rules and with node:crypto alone: without fault it must judge as
 * ours does; with one, it must be caught.
 */
export function naiveVerifier(signer: Signer, fault?: Fault): (token: string) => boolean {
  return (token) => {
    try {
      return judge(token, signer, fault);
    } catch {
      return false;
    }
  };
}

function judge(token: string, signer: Signer, fault: Fault | undefined): boolean {
  const parts = token.trim().split('.');
  const lenient = fault === 'reads base64 leniently';
  if (parts.length !== 3 || (token.length > 8192 && fault !== 'has no longest token')) return false;
  if (!lenient && parts.some((text) => Buffer.from(text, 'base64url').toString('base64url') !== text)) return false;
  const [head, body, signature] = parts.map((text) => Buffer.from(text, 'base64url')) as [Buffer, Buffer, Buffer];
  const header = object(head, fault);
  const claims = object(body, fault);
  // A lenient reader forgives unused bits and padding, and signs what it has read.
  const text = lenient ? `${head.toString('base64url')}.${body.toString('base64url')}` : `${parts[0]}.${parts[1]}`;
  if (!isSigned(header, text, signature, signer, fault)) return false;
  if (header.kid !== undefined && typeof header.kid !== 'string') return false;
  if (header.crit !== undefined && fault !== 'ignores crit') return false;
  const typ = header.typ === undefined ? 'jwt' : typeof header.typ === 'string' ? header.typ.toLowerCase().replace('application/', '') : '';
  if (!['jwt', 'at+jwt'].includes(typ) && fault !== 'ignores typ') return false;
  const isTime = (time: unknown) => typeof time === 'number' && Number.isFinite(time);
  if (![claims.nbf, claims.iat].every((time) => time === undefined || isTime(time)) || !isTime(claims.exp)) return false;
  if ((claims.exp as number) <= NOW && fault !== 'ignores exp') return false;
  if ((claims.nbf as number) > NOW && fault !== 'ignores nbf') return false;
  if ((claims.iat as number) > NOW + 60) return false;
  if (claims.iss !== ISSUER && fault !== 'ignores iss') return false;
  const isOurs = (aud: unknown) => aud === AUDIENCE || (fault === 'compares aud by prefix' && String(aud).startsWith(AUDIENCE));
  if (!(Array.isArray(claims.aud) ? claims.aud : [claims.aud]).some(isOurs) && fault !== 'ignores aud') return false;
  // Whoever presents the tokens of this proof has no key to show.
  if (claims.cnf !== undefined && fault !== 'ignores cnf') return false;
  return typeof claims.sub === 'string' && claims.sub !== '';
}

function isSigned(header: Record<string, unknown>, text: string, signature: Buffer, signer: Signer, fault: Fault | undefined): boolean {
  const { alg, jwk } = header;
  if (fault === 'does not verify the signature') return alg === signer.alg;
  if (fault === 'accepts none' && String(alg).toLowerCase() === 'none') return true;
  if (fault === 'takes the key from the token' && jwk !== undefined) {
    return isSignature(alg as string, createPublicKey({ key: jwk as JsonWebKey, format: 'jwk' }), text, signature);
  }
  if (fault === 'takes the algorithm from the token' && signer.key.type === 'public' && String(alg).startsWith('HS')) {
    const secret = signer.key.export({ type: 'spki', format: 'pem' });
    return createHmac(`sha${String(alg).slice(2)}`, secret)
      .update(text)
      .digest()
      .equals(signature);
  }
  return alg === signer.alg && isSignature(signer.alg, signer.key, text, signature);
}

function object(bytes: Buffer, fault: Fault | undefined): Record<string, unknown> {
  const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  const value = JSON.parse(text) as Record<string, unknown>;
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new Error('no object');
  const names = [...text.matchAll(/"((?:[^"\\]|\\.)*)"\s*:/g)].map(([, name]) => JSON.parse(`"${name}"`) as string);
  // Nothing is nested in the tokens of this proof but keys, whose members differ.
  if (new Set(names).size < names.length && fault !== 'takes the last of two equal claims') throw new Error('a member twice');
  return value;
}
