import { complement, part, type Signer, token } from './tokens-issuer.ts';

/** Numbers from 0 up to a bound, the same for the same seed (mulberry32). */
export function seededBelow(seed: number): (bound: number) => number {
  let state = seed;
  return (bound) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * bound);
  };
}

/** A good token that is to be spoiled. */
export interface Original {
  readonly signer: Signer;
  readonly token: string;
}

/** Good tokens of a signer with claims of differing length, so that parts end with every number of unused bits. */
export function originalsOf(signer: Signer, claims: object): readonly Original[] {
  return [0, 1, 2].map((length) => ({
    signer,
    token: token({ alg: signer.alg, kid: signer.kid, typ: 'JWT' }, { ...claims, jti: 'x'.repeat(length) }, (text) => signer.sign(text)),
  }));
}

type Mutation = (original: Original, others: readonly Original[], below: (bound: number) => number) => string;

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
const parts = (text: string) => text.split('.') as [string, string, string];
const onPart =
  (change: (text: string, below: (bound: number) => number) => string): Mutation =>
  ({ token: text }, _others, below) => {
    const all = parts(text);
    const index = below(3);
    all[index] = change(all[index] as string, below);
    return all.join('.');
  };
/** Changes JSON of the header or the claims and keeps the signature. */
const onJson =
  (change: (json: string, below: (bound: number) => number) => string): Mutation =>
  ({ token: text }, _others, below) => {
    const all = parts(text);
    const index = below(2);
    all[index] = part(change(Buffer.from(all[index] as string, 'base64url').toString(), below));
    return all.join('.');
  };

/** The ways a good token is spoiled. */
export const MUTATIONS: readonly Mutation[] = [
  // A bit of the text.
  ({ token: text }, _others, below) => {
    const at = below(text.length);
    return text.slice(0, at) + String.fromCharCode(text.charCodeAt(at) ^ (1 << below(7))) + text.slice(at + 1);
  },
  // A bit of the bytes.
  onPart((text, below) => {
    const bytes = Buffer.from(text, 'base64url');
    const at = below(bytes.length);
    bytes[at] = (bytes[at] as number) ^ (1 << below(8));
    return part(bytes);
  }),
  // Another character, most often the last of a part, whose bits may be unused.
  onPart((text, below) => {
    const at = below(2) === 0 ? text.length - 1 : below(text.length);
    return text.slice(0, at) + ALPHABET[below(64)] + text.slice(at + 1);
  }),
  // Parts of another token.
  ({ token: text }, others, below) => {
    const all = parts(text);
    const index = below(3);
    all[index] = parts((others[below(others.length)] as Original).token)[index] as string;
    return all.join('.');
  },
  // The order of the parts.
  ({ token: text }, _others, below) => {
    const [a, b, c] = parts(text);
    return (
      [
        [a, c, b],
        [b, a, c],
        [c, b, a],
        [b, c, a],
        [a, a, c],
        [a, b, b],
      ][below(6)] as string[]
    ).join('.');
  },
  // The end, the beginning, or something in between is missing.
  ({ token: text }, _others, below) => [text.slice(0, below(text.length)), text.slice(1 + below(text.length - 1))][below(2)] as string,
  onPart((text, below) => {
    const at = below(text.length);
    return text.slice(0, at) + text.slice(at + 1 + below(4));
  }),
  // Something more.
  onPart((text, below) => {
    const at = below(text.length + 1);
    return text.slice(0, at) + ['=', '.', '+', '/', 'A', '%', ' ', '\n', '\u0000', 'é'][below(10)] + text.slice(at);
  }),
  // Another encoding of the same bytes.
  onPart((text, below) => {
    const bytes = Buffer.from(text, 'base64url');
    return [
      bytes.toString('base64'),
      bytes.toString('hex'),
      encodeURIComponent(bytes.toString('base64')),
      bytes.toString('latin1'),
      part(text),
    ][below(5)] as string;
  }),
  // The same JSON in other words.
  onJson(
    (json, below) =>
      [
        ` ${json}`,
        `${json} `,
        json.replace(':', ': '),
        JSON.stringify(Object.fromEntries(Object.entries(JSON.parse(json) as object).reverse())),
      ][below(4)] as string,
  ),
  // Other JSON.
  onJson((json, below) => {
    const value = JSON.parse(json) as Record<string, unknown>;
    const names = Object.keys(value);
    const name = names[below(names.length)] as string;
    if (below(3) === 0) delete value[name];
    else value[name] = [null, 9_999_999_999, 'none', 'HS256', 'root', [value[name]], `${String(value[name])} `][below(7)];
    return JSON.stringify(value);
  }),
  // The other signature of ECDSA, or none.
  ({ token: text, signer }) => complement(text, signer.alg) ?? text.slice(0, text.lastIndexOf('.') + 1),
];
