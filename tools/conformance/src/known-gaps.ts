import { readFileSync } from 'node:fs';

type Gaps = Readonly<Record<string, Readonly<Record<string, string>>>>;

/** Scenarios known to be missing, by target, each with its reason. Servers have none, and shall have none. */
const GAPS = JSON.parse(readFileSync(new URL('../known-gaps.json', import.meta.url), 'utf8')) as Gaps;

/** Sorts a run's missing scenarios into those with a known reason and those without, and finds reasons that no longer hold. */
export function explainMissing(target: string, missing: readonly string[], gaps: Gaps = GAPS) {
  const known = gaps[target] ?? {};
  return {
    explained: missing.flatMap((scenario) => (known[scenario] === undefined ? [] : [[scenario, known[scenario]] as const])),
    unexplained: missing.filter((scenario) => known[scenario] === undefined),
    outdated: Object.keys(known).filter((scenario) => !missing.includes(scenario)),
  };
}
