import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { explainMissing } from '../src/known-gaps.ts';
import { missingScenarios, passedScenario, readList, readSummary, requiredScenarios, runClientSuite } from '../src/suite.ts';

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

it('knows how many scenarios each revision requires of a server and of a client', () => {
  expect(requiredScenarios('2026-07-28', 'server')).toHaveLength(37);
  expect(requiredScenarios('2025-11-25', 'server')).toHaveLength(30);
  expect(requiredScenarios('2026-07-28', 'client')).toHaveLength(32);
  expect(requiredScenarios('2025-11-25', 'client')).toHaveLength(18);
});

it('refuses a requirements file without the list', () => {
  expect(() => readList('client:\n  - a\n', 'server')).toThrow(/server/);
});

it.each([
  ['every check has passed', 'Passed: 2/2, 0 failed, 0 warnings', 'PASSED', true],
  ['a check has failed', 'Passed: 1/2, 1 failed, 0 warnings', 'FAILED', false],
  ['there was a warning', 'Passed: 2/2, 0 failed, 1 warnings', 'FAILED', false],
  ['nothing was checked', 'Passed: 0/0, 0 failed, 0 warnings', 'PASSED', false],
  ['the client ended with an error', 'Passed: 2/2, 0 failed, 0 warnings', 'FAILED', false],
])('counts a scenario of a client rightly when %s', (_name, checks, overall, passed) => {
  const mark = overall === 'PASSED' ? '✅' : '❌';
  expect(passedScenario(`\nTest Results:\n${checks}\n\n${mark} OVERALL: ${overall}\n`)).toBe(passed);
});

it('runs the client of this repository through a scenario', { timeout: 60_000 }, async () => {
  const program = fileURLToPath(new URL('../src/client-cli.ts', import.meta.url));
  const { missing, output } = await runClientSuite(program, '2026-07-28', { only: ['auth/scope-step-up'] });
  expect(missing, output).toEqual([]);
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
