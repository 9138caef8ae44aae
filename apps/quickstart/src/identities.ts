import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import type { Principal } from '@mcp-blocks/core';
import jsonwebtoken from 'jsonwebtoken';

/** The people of the demo and what each may do; the registries say what the roles mean. */
export const PEOPLE = {
  viewer: { sub: 'vera', roles: ['viewer'] },
  analyst: { sub: 'anton', roles: ['analyst'] },
  admin: { sub: 'ada', roles: ['admin'] },
} as const;

export type Person = keyof typeof PEOPLE;

/** Roles that include others: an admin may do what an analyst may, who may do what a viewer may. */
export const ROLE_HIERARCHY = { admin: ['analyst'], analyst: ['viewer'] };

/** Signs tokens, and knows the key others verify them with. A deployment has an identity provider here. */
export class TokenIssuer {
  readonly issuer: string;
  readonly publicKey: string;
  readonly #privateKey: KeyObject;

  constructor(issuer: string) {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    this.issuer = issuer;
    this.#privateKey = privateKey;
    this.publicKey = publicKey.export({ type: 'spki', format: 'pem' }).toString();
  }

  sign(claims: { sub: string; roles: readonly string[]; act?: { sub: string } }, audience: string, lifetimeSeconds: number): string {
    return jsonwebtoken.sign(claims, this.#privateKey, { algorithm: 'ES256', issuer: this.issuer, audience, expiresIn: lifetimeSeconds });
  }
}

/**
 * What the gateway presents to a node instead of the caller's own token, which never leaves the gateway:
 * a token of its own for that one service, naming the person and the gateway that acts for them (the
 * `act` claim of RFC 8693).
 */
export function actFor(issuer: TokenIssuer, gateway: string, principal: Principal, audience: string): string {
  return issuer.sign({ sub: principal.id, roles: principal.roles, act: { sub: gateway } }, audience, 60);
}
