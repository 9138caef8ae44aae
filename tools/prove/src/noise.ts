import { type NoiseCipher, type NoiseCrypto, nobleCrypto } from '@mcp-blocks/encrypted-websocket/noise';
import { nodeCrypto } from '@mcp-blocks/encrypted-websocket/noise/node';
import { ATTACKS, type Attack } from './noise-attacks.ts';
import { FAULTS } from './noise-faults.ts';
import { attackHandshake } from './noise-handshakes.ts';
import { type Fault, Link, type Verdict } from './noise-link.ts';
import { rotate } from './noise-rotation.ts';
import { checkVectors } from './noise-vectors.ts';
import type { Proof } from './proof.ts';
import { seededBelow } from './tokens-mutations.ts';

/** One attack in so many is on a handshake, which takes that much longer. */
const FRAMES_PER_HANDSHAKE = 50;
/** Long messages take that much longer than short ones. */
const SMALL_PER_LARGE = 50;
/** One link in so many has the JavaScript library at an end. */
const LINKS_PER_NOBLE = 50;
/** A planted bug that does not show in as many attacks has been missed. */
const PATIENCE = 20_000;
const SHOWN = 10;
const BACKENDS: readonly NoiseCrypto[] = [nodeCrypto, nobleCrypto];
const SMALL = ATTACKS.filter(({ isLarge }) => isLarge !== true);
const LARGE = ATTACKS.filter(({ isLarge }) => isLarge === true);

/**
 * The published vectors hold for both cryptographic libraries, alone and mixed; no frame is accepted but the one
 * that the peer sealed next, in the handshake or after it; and no message is lost when keys change. Then the
 * libraries and keys are given bugs, each of which must show.
 */
export const proof: Proof = {
  name: 'noise',
  n: 1_000_000,
  async run(n, progress) {
    const details: string[] = [];
    const vectors = { held: 0, of: 0 };
    for (const initiator of BACKENDS) {
      for (const responder of BACKENDS) {
        const { held, of } = checkVectors(initiator, responder);
        vectors.held += held;
        vectors.of += of;
      }
    }

    const counts: Record<Verdict, number> = { refused: 0, accepted: 0, crashed: 0 };
    const below = seededBelow(20_260_728);
    for (let done = 0; done < n; done += 1) {
      const { name, verdict } = attack(below, undefined);
      counts[verdict] += 1;
      if (verdict !== 'refused' && details.length < SHOWN) details.push(`${verdict}: ${name}`);
      progress(done);
    }

    const messages = Math.max(1000, Math.round(n / 10));
    const rotation = rotate(messages, below, nodeCrypto);
    if (rotation.failure !== undefined) details.push(`rotation: ${rotation.failure}`);

    const missed = FAULTS.filter((fault) => !shows(fault));
    details.push(...missed.map(({ name }) => `planted bug not found: ${name}`));

    const count = (value: number) => value.toLocaleString('en');
    return {
      held:
        vectors.held === vectors.of &&
        counts.refused === n &&
        rotation.arrived === 2 * messages &&
        rotation.failure === undefined &&
        missed.length === 0,
      figure:
        `${vectors.held} of ${vectors.of} runs of the published vectors; ${count(n)} frames that must be refused: ${count(counts.accepted)} accepted, ` +
        `${count(counts.crashed)} crashes; ${count(rotation.arrived)} of ${count(2 * messages)} messages whole and in order over ` +
        `${count(rotation.rotations)} changes of key with up to ${rotation.mostUnderWay} frames under way; ` +
        `${FAULTS.length - missed.length} of ${FAULTS.length} planted bugs found`,
      details,
    };
  },
};

function attack(below: (limit: number) => number, fault: Fault | undefined): { name: string; verdict: Verdict } {
  const backend = () => (below(LINKS_PER_NOBLE) === 0 ? nobleCrypto : nodeCrypto);
  if (below(FRAMES_PER_HANDSHAKE) === 0) return attackHandshake({ below, crypto: nodeCrypto, fault });
  const from = below(SMALL_PER_LARGE) === 0 ? LARGE : SMALL;
  const chosen = from[below(from.length)] as Attack;
  const crypto = { sender: backend(), receiver: backend() };
  const cipher: NoiseCipher = below(2) === 0 ? 'AESGCM' : 'ChaChaPoly';
  const name = `${chosen.kind}: ${chosen.name}`;
  try {
    const link = new Link({ below, cipher, crypto, fault });
    if (chosen.isFirst !== true) link.warmUp();
    const other = () => {
      const another = new Link({ below, cipher, crypto, fault });
      another.warmUp();
      return another;
    };
    return { name, verdict: link.offer(chosen.frame(link, other)) };
  } catch (error) {
    // An honest frame was refused.
    return { name: `${name}: ${String(error)}`, verdict: 'crashed' };
  }
}

/** Whether a planted bug lets something in, crashes something or loses something. */
function shows(fault: Fault): boolean {
  const below = seededBelow(1);
  if (fault.crypto !== undefined && rotate(500, below, nodeCrypto, fault).failure !== undefined) return true;
  for (let left = PATIENCE; left > 0; left -= 1) if (attack(below, fault).verdict !== 'refused') return true;
  return false;
}
