import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { jwt } from '@mcp-blocks/secure-mcp-server';
import jsonwebtoken from 'jsonwebtoken';

const CALLERS = 32;
const ISSUER = 'https://issuer.example';
const AUDIENCE = 'https://bench.example';

/** A limit that is kept and counted for every call, but never reached: refusals are cheap and would flatter the figures. */
export const NEVER_REACHED = 1_000_000_000;

/** Checks the tokens of the {@link TestIssuer} with this key. */
export const tokensOf = (key: KeyObject | string) => jwt({ key, algorithms: ['ES256'], issuer: ISSUER, audience: AUDIENCE });

/** Gives out tokens (ES256), and checks them. */
export class TestIssuer {
  readonly #keys = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  readonly authenticator = tokensOf(this.#keys.publicKey);

  get publicKey(): string {
    return this.#keys.publicKey.export({ type: 'spki', format: 'pem' }) as string;
  }

  /** Values of `Authorization` of 32 callers with a role. */
  callers(role: string): string[] {
    return Array.from({ length: CALLERS }, (_, index) => this.bearer(`caller-${index}`, role));
  }

  bearer(subject: string, role: string, key: KeyObject = this.#keys.privateKey): string {
    const options = { algorithm: 'ES256', issuer: ISSUER, audience: AUDIENCE, subject, expiresIn: '1h' } as const;
    return `Bearer ${jsonwebtoken.sign({ roles: [role] }, key, options)}`;
  }

  /** One of a caller's that a stranger has signed. */
  forged(): string {
    return this.bearer('caller-0', 'agent', generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey);
  }
}

/** A call whose record is lost must not count as audited. */
export function giveUp(error: Error): void {
  console.error(error.message);
  process.exit(1);
}
