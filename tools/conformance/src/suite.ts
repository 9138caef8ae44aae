import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
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

/** The scenarios a server must pass for a revision: the `server` list of the suite's own requirements file. */
export function requiredScenarios(revision: Revision): string[] {
  const text = readFileSync(join(PACKAGE, 'requirements', `${revision}.yaml`), 'utf8');
  return readServerList(text);
}

/** Reads the `server:` list, a flat block sequence, out of a requirements file. */
export function readServerList(yaml: string): string[] {
  const section = /^server:\n((?:[ ]{2}- .*\n|[ ]*#.*\n|\n)+)/m.exec(yaml)?.[1];
  if (section === undefined) throw new Error("The suite's requirements file has no 'server:' list");
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
  const bin = join(
    PACKAGE,
    (require('@modelcontextprotocol/conformance/package.json') as { bin: Record<string, string> }).bin.conformance as string,
  );
  const output = await new Promise<string>((resolve, reject) => {
    const child = spawn(process.execPath, [bin, 'server', '--url', url, '--requirements', revision], {
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
  const required = requiredScenarios(revision);
  const outcomes = readSummary(output);
  if (outcomes.length === 0) throw new Error(`The suite printed no summary:\n${output.slice(-2000)}`);
  return { required, missing: missingScenarios(required, outcomes), output };
}
