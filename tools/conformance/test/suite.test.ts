import { describe, expect, it } from 'vitest';
import { explainMissing } from '../src/known-gaps.ts';
import { missingScenarios, readServerList, readSummary, requiredScenarios } from '../src/suite.ts';

describe("the conformance suite's summary", () => {
  const output = [
    '✓ tools-list: 3 passed, 0 failed',
    '✗ caching: 1 passed, 2 failed',
    '✓ vacuous: 0 passed, 0 failed',
    'Total: 4 passed, 2 failed',
    '  ✗ tasks (extension)',
  ].join('\n');

  it('is read line by line', () => {
    expect(readSummary(output)).toEqual([
      { name: 'tools-list', passed: 3, failed: 0 },
      { name: 'caching', passed: 1, failed: 2 },
      { name: 'vacuous', passed: 0, failed: 0 },
    ]);
  });

  it('counts a scenario only when it checked something and nothing failed', () => {
    expect(missingScenarios(['tools-list', 'caching', 'vacuous', 'never-run'], readSummary(output))).toEqual([
      'caching',
      'vacuous',
      'never-run',
    ]);
  });
});

it('knows how many scenarios each revision requires of a server', () => {
  expect(requiredScenarios('2026-07-28')).toHaveLength(37);
  expect(requiredScenarios('2025-11-25')).toHaveLength(30);
});

it('refuses a requirements file without a server list', () => {
  expect(() => readServerList('client:\n  - a\n')).toThrow(/server/);
});

describe('known gaps', () => {
  const gaps = { 'gateway 2026-07-28': { caching: 'no cache yet', ping: 'was missing once' } };

  it('explain what they name, nothing else, and do not outlive their reason', () => {
    expect(explainMissing('gateway 2026-07-28', ['caching', 'tools-list'], gaps)).toEqual({
      explained: [['caching', 'no cache yet']],
      unexplained: ['tools-list'],
      outdated: ['ping'],
    });
    expect(explainMissing('server 2026-07-28', ['caching'], gaps)).toMatchObject({ explained: [], unexplained: ['caching'] });
  });
});
