import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';

const require = createRequire(import.meta.url);
const PACKAGE = dirname(require.resolve('@modelcontextprotocol/conformance/package.json'));

/** The MCP revisions the suite has frozen requirements for. */
export type Revision = '2026-07-28' | '2025-11-25';

/** How one scenario went. */
export interface ScenarioOutcome {
  readonly name: string;
  /** Checks that passed and failed. A scenario without a single passed check did not test anything. */
  readonly passed: number;
  readonly failed: number;
}

/** The outcome of a run, reduced to the scenarios the revision requires. */
export interface SuiteOutcome {
  readonly required: readonly string[];
  readonly missing: readonly string[];
  /** What the suite printed, for whoever has to find out why. */
  readonly output: string;
}

/** Who is tested. */
export type Role = 'client' | 'server';

/** The scenarios one must pass for a revision: a list of the suite's own requirements file. */
export function requiredScenarios(revision: Revision, role: Role): string[] {
  const text = readFileSync(join(PACKAGE, 'requirements', `${revision}.yaml`), 'utf8');
  return readList(text, role);
}

/** Reads the `server:` or `client:` list, a flat block sequence, out of a requirements file. */
export function readList(yaml: string, role: Role): string[] {
  const section = new RegExp(`^${role}:\\n((?:[ ]{2}- .*\\n|[ ]*#.*\\n|\\n)+)`, 'm').exec(yaml)?.[1];
  if (section === undefined) throw new Error(`The suite's requirements file has no '${role}:' list`);
  return [...section.matchAll(/^ {2}- (\S+)/gm)].map((match) => match[1] as string);
}

/**
 * Reads the suite's summary. The process's exit code is of no use: it also counts scenarios that are not
 * scored for the revision.
 */
export function readSummary(output: string): ScenarioOutcome[] {
  return [...output.matchAll(/^[✓✗~!⚠] ?(\S+): (\d+) passed, (\d+) failed/gmu)].map((match) => ({
    name: match[1] as string,
    passed: Number(match[2]),
    failed: Number(match[3]),
  }));
}

/** Which required scenarios were not passed. */
export function missingScenarios(required: readonly string[], outcomes: readonly ScenarioOutcome[]): string[] {
  const passed = new Set(outcomes.filter((outcome) => outcome.failed === 0 && outcome.passed > 0).map((outcome) => outcome.name));
  return required.filter((name) => !passed.has(name));
}

/** Runs the official suite against a server. */
export async function runSuite(url: string, revision: Revision, timeoutMs = 600_000): Promise<SuiteOutcome> {
  const output = await suite(['server', '--url', url, '--requirements', revision], timeoutMs);
  const required = requiredScenarios(revision, 'server');
  const outcomes = readSummary(output);
  if (outcomes.length === 0) throw new Error(`The suite printed no summary:\n${output.slice(-2000)}`);
  return { required, missing: missingScenarios(required, outcomes), output };
}

/** How one scenario of a client went, as the suite sums it up: it tells of checks, of warnings, and of how the client ended. */
export function passedScenario(output: string): boolean {
  const passed = /^Passed: (\d+)\/\d+, 0 failed, 0 warnings$/m.exec(output)?.[1];
  return passed !== undefined && passed !== '0' && /^\S+ OVERALL: PASSED$/m.test(output);
}

/** How long a client may take for one scenario, on a machine with other things to do. */
const CLIENT_TIMEOUT_MS = 60_000;

/**
 * Runs the official suite against a client, scenario by scenario, `lanes` at a time: all at once, as the suite
 * would, is more processes than a small machine can start before the suite gives up on them.
 *
 * @param program - the module that is the client.
 */
export async function runClientSuite(
  program: string,
  revision: Revision,
  { only, lanes = availableParallelism() }: { readonly only?: readonly string[]; readonly lanes?: number } = {},
): Promise<SuiteOutcome> {
  const required = only ?? requiredScenarios(revision, 'client');
  const command = `${JSON.stringify(process.execPath)} ${JSON.stringify(program)}`;
  const waiting = required.values();
  const missing = new Set<string>();
  let output = '';
  const lane = async () => {
    for (const scenario of waiting) {
      const args = ['client', '--command', command, '--scenario', scenario, '--spec-version', revision, '--force'];
      const text = await suite([...args, '--timeout', String(CLIENT_TIMEOUT_MS)], CLIENT_TIMEOUT_MS * 2);
      output += text;
      if (!passedScenario(text)) missing.add(scenario);
    }
  };
  await Promise.all(Array.from({ length: lanes }, lane));
  return { required, missing: required.filter((scenario) => missing.has(scenario)), output };
}

/** Runs the suite; resolves with what it prints. */
function suite(args: readonly string[], timeoutMs: number): Promise<string> {
  const { bin } = require('@modelcontextprotocol/conformance/package.json') as { bin: { conformance: string } };
  return new Promise<string>((resolve, reject) => {
    const child = spawn(process.execPath, [join(PACKAGE, bin.conformance), ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: timeoutMs,
    });
    let text = '';
    child.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (text += chunk.toString()));
    child.on('error', reject);
    child.on('close', (_code, signal) =>
      signal === null ? resolve(text) : reject(new Error(`The suite was ended by ${signal}:\n${text.slice(-2000)}`)),
    );
  });
}
