import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { ManualClock } from '@mcp-blocks/core/testing';
import { jwt } from '@mcp-blocks/secure-mcp-server';
import { AUDIENCE, CLAIMS, ISSUER, NOW, token } from './tokens-issuer.ts';

/** Says whether a token is accepted. */
export type Judge = (token: string) => Promise<boolean>;

/** Makes a judge that gets the keys of the issuer by `fetch`. */
export type JudgeOfKeySet = (fetchKeys: typeof fetch, clock: ManualClock) => Judge;

/** What came of the rotations. */
export interface Rotation {
  readonly falseRefusals: number;
  readonly forgedAccepted: number;
  /** Rotations, each of which sets off a stampede of callers. */
  readonly stampedes: number;
  readonly fetches: number;
}

const CALLERS = 50;

/** Longer than the cooldown between fetches for unknown keys. */
const BETWEEN_MS = 31_000;

interface Key {
  readonly kid: string;
  readonly jwk: JsonWebKey;
  readonly good: string;
}

function newKey(kid: string): Key {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return {
    kid,
    jwk: { ...publicKey.export({ format: 'jwk' }), kid, alg: 'ES256', use: 'sig' } as JsonWebKey,
    good: signed(kid, privateKey),
  };
}

function signed(kid: string, key: KeyObject): string {
  const claims = { ...CLAIMS, exp: NOW + 1_000_000_000 };
  return token({ alg: 'ES256', kid }, claims, (text) => sign('sha256', Buffer.from(text), { key, dsaEncoding: 'ieee-p1363' }));
}

/** Replaces the issuer's key again and again, while callers with tokens of the old, the new and forged keys come all at once. */
export async function rotate(times: number, makeJudge: JudgeOfKeySet): Promise<Rotation> {
  const clock = new ManualClock(NOW * 1000);
  const forged = signed('forged', generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey);
  let published = [newKey('key-0')];
  let fetches = 0;
  const answer = async () => {
    fetches += 1;
    const body = { keys: published.map(({ jwk }) => jwk) };
    await new Promise((resolve) => setImmediate(resolve));
    return Response.json(body);
  };
  const judge = makeJudge(answer, clock);
  await judge((published[0] as Key).good);
  fetches = 0;
  let falseRefusals = 0;
  let forgedAccepted = 0;
  for (let n = 1; n <= times; n += 1) {
    await clock.advance(BETWEEN_MS);
    published = [newKey(`key-${n}`), ...published].slice(0, 2);
    const good = await Promise.all(Array.from({ length: CALLERS }, (_, i) => judge((published[i % published.length] as Key).good)));
    falseRefusals += good.filter((accepted) => !accepted).length;
    const bad = await Promise.all(Array.from({ length: CALLERS }, () => judge(forged)));
    forgedAccepted += bad.filter(Boolean).length;
  }
  return { falseRefusals, forgedAccepted, stampedes: times, fetches };
}

/** Whether the promises held. */
export function rotationHeld({ falseRefusals, forgedAccepted, stampedes, fetches }: Rotation): boolean {
  return falseRefusals === 0 && forgedAccepted === 0 && fetches === stampedes;
}

/** Ours. */
export const judgeOfJwt: JudgeOfKeySet = (fetchKeys, clock) => {
  const jwks = { url: `${ISSUER}/keys`, fetch: fetchKeys };
  const authenticator = jwt({ issuer: ISSUER, audience: AUDIENCE, algorithms: ['ES256'], jwks, clock });
  return (text) =>
    authenticator.authenticate({ transport: 'http', header: () => `Bearer ${text}` }).then(
      (principal) => principal !== undefined,
      () => false,
    );
};

/** Mistakes with key sets that must be caught. */
export const CARELESS: Readonly<Record<string, JudgeOfKeySet>> = {
  'never fetches again': careless({ refetch: false, shared: true, cooldown: true }),
  'fetches for every caller': careless({ refetch: true, shared: false, cooldown: true }),
  'fetches for every forged key': careless({ refetch: true, shared: true, cooldown: false }),
};

function careless(care: { readonly refetch: boolean; readonly shared: boolean; readonly cooldown: boolean }): JudgeOfKeySet {
  return (fetchKeys, clock) => {
    let known: ReadonlySet<string> | undefined;
    let pending: Promise<void> | undefined;
    let missedAt = Number.NEGATIVE_INFINITY;
    const load = async () => {
      const { keys } = (await (await fetchKeys('')).json()) as { keys: { kid: string }[] };
      known = new Set(keys.map(({ kid }) => kid));
      pending = undefined;
    };
    // Only the handling of the set is at stake here, not signatures.
    return async (text) => {
      const { kid } = JSON.parse(Buffer.from(text.split('.', 1)[0] as string, 'base64url').toString()) as { kid: string };
      if (known === undefined) await load();
      if (known?.has(kid) === false && care.refetch && (pending !== undefined || !care.cooldown || clock.now() - missedAt > 30_000)) {
        if (care.shared) missedAt = clock.now();
        pending = care.shared ? (pending ?? load()) : load();
        await pending;
        missedAt = clock.now();
      }
      return known?.has(kid) === true;
    };
  };
}
