import { isRpcError } from '@mcp-blocks/core';
import { ManualClock } from '@mcp-blocks/core/testing';
import { jwt } from '@mcp-blocks/secure-mcp-server';
import type { Finding, Proof } from './proof.ts';
import { AUDIENCE, CLAIMS, complement, ISSUER, makeSigners, NOW, type Signer } from './tokens-issuer.ts';
import { MUTATIONS, type Original, originalsOf, seededBelow } from './tokens-mutations.ts';
import { FAULTS, naiveVerifier } from './tokens-naive.ts';
import { CARELESS, type Judge, judgeOfJwt, rotate, rotationHeld } from './tokens-rotation.ts';
import { type Trick, tricksFor } from './tokens-tricks.ts';

/** Mutations after which a planted bug has to be found. */
const MUTATIONS_PER_FAULT = 300;

/** Mutations for one rotation of keys. */
const MUTATIONS_PER_ROTATION = 10_000;

/** As our server judges, with the key in the configuration; and with a key set, where the key is public. */
function judgesOf(signer: Signer): readonly Judge[] {
  const base = { algorithms: [signer.alg], issuer: ISSUER, audience: AUDIENCE, clock: new ManualClock(NOW * 1000) };
  const authenticators = [jwt({ ...base, key: signer.key }), jwt({ ...base, keys: [{ kid: signer.kid, key: signer.key }] })];
  if (signer.key.type === 'public') {
    const keys = [{ ...signer.key.export({ format: 'jwk' }), kid: signer.kid, alg: signer.alg, use: 'sig' }];
    authenticators.push(jwt({ ...base, jwks: { url: `${ISSUER}/keys`, fetch: async () => Response.json({ keys }) } }));
  }
  return authenticators.map((authenticator) => async (token) => {
    try {
      return (await authenticator.authenticate({ transport: 'http', header: () => `Bearer ${token}` })) !== undefined;
    } catch (error) {
      if (isRpcError(error) && error.code === 'unauthenticated') return false;
      throw error;
    }
  });
}

/** A token that is another text for what the issuer has signed. */
function isSameToken(text: string, { token, signer }: Original): boolean {
  // Spaces around a header are HTTP's; ECDSA has two signatures for each text, and anybody can tell one from the other.
  return text.trim() === token || text === complement(token, signer.alg);
}

async function run(n: number, progress: (done: number) => void): Promise<Finding> {
  const signers = makeSigners();
  const details: string[] = [];
  const note = (detail: string) => {
    if (details.length < 20) details.push(detail);
  };
  let tricks = 0;
  let accepted = 0;
  let refusedGood = 0;
  const tricksOf = new Map<Signer, readonly Trick[]>(signers.map((signer) => [signer, tricksFor(signer)]));
  for (const signer of signers) {
    const judges: readonly Judge[] = [...judgesOf(signer), async (token) => naiveVerifier(signer)(token)];
    for (const trick of tricksOf.get(signer) ?? []) {
      if (!trick.good) tricks += 1;
      for (const [index, judge] of judges.entries()) {
        if ((await judge(trick.token)) === trick.good) continue;
        if (trick.good) refusedGood += 1;
        else accepted += 1;
        note(`${signer.alg}, verifier ${index}: '${trick.name}' was ${trick.good ? 'refused' : 'accepted'}`);
      }
    }
  }

  const originals = signers.flatMap((signer) => originalsOf(signer, CLAIMS));
  const texts = new Set(originals.map(({ token }) => token));
  const judges = new Map(signers.map((signer) => [signer, judgesOf(signer)]));
  const below = seededBelow(1);
  let same = 0;
  let mutated = 0;
  while (mutated < n) {
    const original = originals[below(originals.length)] as Original;
    const mutate = MUTATIONS[below(MUTATIONS.length)] as (typeof MUTATIONS)[number];
    const text = mutate(original, originals, below);
    if (texts.has(text)) continue;
    mutated += 1;
    const all = judges.get(original.signer) as readonly Judge[];
    if (await (all[below(all.length)] as Judge)(text)) {
      if (isSameToken(text, original)) same += 1;
      else {
        accepted += 1;
        note(`${original.signer.alg}: accepted ${text}`);
      }
    }
    progress(mutated);
  }

  const rotation = await rotate(Math.max(5, Math.floor(n / MUTATIONS_PER_ROTATION)), judgeOfJwt);
  if (!rotationHeld(rotation)) note(`key rotation: ${JSON.stringify(rotation)}`);

  let found = 0;
  for (const fault of FAULTS) {
    if (signers.some((signer) => isCaught(naiveVerifier(signer, fault), signer, tricksOf.get(signer) ?? []))) found += 1;
    else note(`a verifier that ${fault} was not caught`);
  }
  for (const [mistake, makeJudge] of Object.entries(CARELESS)) {
    if (rotationHeld(await rotate(5, makeJudge))) note(`a key set that ${mistake} was not caught`);
    else found += 1;
  }
  const planted = FAULTS.length + Object.keys(CARELESS).length;
  return {
    held: accepted === 0 && refusedGood === 0 && rotationHeld(rotation) && found === planted,
    figure:
      `${tricks} tricks and ${mutated.toLocaleString('en')} mutated tokens, ${accepted} accepted` +
      ` (${same.toLocaleString('en')} were the same token: spaces around it, or the other of ECDSA's two signatures);` +
      ` ${rotation.stampedes} key rotations, ${rotation.falseRefusals} false refusals, ${rotation.fetches} fetches;` +
      ` ${found} of ${planted} planted bugs found`,
    details,
  };
}

function isCaught(judge: (token: string) => boolean, signer: Signer, tricks: readonly Trick[]): boolean {
  if (tricks.some(({ token, good }) => judge(token) !== good)) return true;
  const originals = originalsOf(signer, CLAIMS);
  const below = seededBelow(2);
  for (let i = 0; i < MUTATIONS_PER_FAULT; i += 1) {
    const original = originals[below(originals.length)] as Original;
    const text = (MUTATIONS[below(MUTATIONS.length)] as (typeof MUTATIONS)[number])(original, originals, below);
    if (originals.every(({ token }) => token !== text) && judge(text) && !isSameToken(text, original)) return true;
  }
  return false;
}

/** No forged, mutated or outdated token is accepted, and no good one refused while an issuer rotates its keys. */
export const proof: Proof = { name: 'tokens', n: 1_000_000, run };
