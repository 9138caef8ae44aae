import { MUTANTS, type Mutant } from './authz-mutants.ts';
import { expected } from './authz-oracle.ts';
import { Subject } from './authz-subject.ts';
import { DECISIONS_PER_WORLD, type World, WorldMaker } from './authz-world.ts';
import type { Proof } from './proof.ts';

const SEED = 20_260_728;
/** A planted bug that does not show in as many decisions has been missed. */
const PATIENCE = 60_000;
const SHOWN = 5;

/**
 * Decisions of the tool registry agree with an oracle written from its README: caller, rules, hour and
 * arguments are generated; each is compared in the list the caller gets and in what comes of the call.
 * Then the registry is given bugs, each of which must show.
 */
export const proof: Proof = {
  name: 'authz',
  n: 1_000_000,
  async run(n, progress) {
    const details: string[] = [];
    const counts: Record<string, number> = {};
    let done = 0;
    let wrong = 0;
    for (const maker = new WorldMaker(SEED); done < n; progress(done)) {
      const world = maker.next();
      for (const { seen, wanted, describe } of await decisions(world)) {
        counts[wanted.call] = (counts[wanted.call] ?? 0) + 1;
        if (seen.listed === wanted.listed && seen.call === wanted.call) continue;
        wrong += 1;
        if (wrong <= SHOWN) details.push(describe());
      }
      done += DECISIONS_PER_WORLD;
    }
    const missed = [];
    for (const mutant of MUTANTS) if (!(await shows(mutant))) missed.push(mutant.name);
    details.push(...missed.map((name) => `planted bug not found: ${name}`));
    const split = Object.entries(counts)
      .map(([call, count]) => `${count.toLocaleString('en')} ${call}`)
      .sort()
      .join(', ');
    return {
      held: wrong === 0 && missed.length === 0,
      figure: `${(done - wrong).toLocaleString('en')} of ${done.toLocaleString('en')} decisions as the oracle has them, in list and call (${split}); ${MUTANTS.length - missed.length} of ${MUTANTS.length} planted bugs found`,
      details,
    };
  },
};

/** What the registry makes of a world, beside what it should. */
async function decisions(world: World, mutant: Mutant = { name: 'none' }) {
  const subject = new Subject(mutant.world?.(world) ?? world);
  const compared = [];
  for (const { caller, time, arguments: args } of world.visits) {
    const all = await subject.visit(mutant.caller?.(caller, world) ?? caller, time, args);
    for (const [entry, seen] of all.entries()) {
      const given = args[entry] ?? {};
      const wanted = expected(world, entry, caller, time, given);
      const describe = () =>
        JSON.stringify({
          seen,
          wanted,
          caller,
          time: new Date(time),
          given,
          rules: world.entries[entry] ?? world.defaultRules,
          roles: world.hierarchy,
        });
      compared.push({ seen, wanted, describe });
    }
  }
  return compared;
}

async function shows(mutant: Mutant): Promise<boolean> {
  const maker = new WorldMaker(SEED + 1);
  for (let done = 0; done < PATIENCE; done += DECISIONS_PER_WORLD) {
    for (const { seen, wanted } of await decisions(maker.next(), mutant)) {
      if (seen.listed !== wanted.listed || seen.call !== wanted.call) return true;
    }
  }
  return false;
}
