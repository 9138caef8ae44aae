import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { type TransportHarness, transportContract } from '../src/testing/index.js';
import { harness } from './readme/transport.js';

const read = (path: string) => readFileSync(new URL(path, import.meta.url), 'utf8');

describe("the README's transport", () => {
  it('is the one that is tested here', () => {
    expect(read('../README.md')).toContain(`\`\`\`ts\n${read('./readme/transport.ts')}\`\`\``);
  });

  for (const { name, run, skipReason } of transportContract) {
    it.skipIf(skipReason(harness) !== undefined)(name, () => run(harness));
  }
});

describe('a case is skipped', () => {
  const reasons = (changes: Partial<TransportHarness>) =>
    new Map(transportContract.map(({ name, skipReason }) => [name, skipReason({ ...harness, ...changes })]));

  it('with the reason the harness gives, and not without one', () => {
    const lacks = { 'several clients': 'a process has one standard input' };
    const skipped = [...reasons({ lacks, era: 'legacy' })].filter(([, reason]) => reason !== undefined);
    expect(skipped.length).toBeGreaterThan(0);
    expect(skipped.every(([, reason]) => reason === 'a process has one standard input')).toBe(true);
    expect([...reasons({ lacks: {}, era: 'legacy' }).values()].every((reason) => reason === undefined)).toBe(true);
  });

  it('in the era it is not about', () => {
    expect(reasons({ era: 'modern' }).get('a request of the server to its client is answered')).toMatch(/2026-07-28/);
    expect(reasons({ era: 'legacy' }).get('a request of the server to its client is answered')).toBeUndefined();
  });
});
