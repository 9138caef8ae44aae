import { readFile } from 'node:fs/promises';
import type { Writable } from 'node:stream';
import { type Clock, systemClock } from '@mcp-blocks/core';
import { generateApiKey, hashApiKey } from '@mcp-blocks/secure-mcp-server';
import { type CommandLine, HELP, parseCommandLine, UsageError } from './command-line.js';
import { gatewayJsonSchema } from './config/schema.js';
import { GatewayRun, problemsOf } from './gateway-run.js';
import { errorText, Log } from './log.js';

/** What the command has of its process. */
export interface CommandProcess {
  readonly stdout: Writable;
  readonly stderr: Writable & { readonly isTTY?: boolean };
  readonly env: NodeJS.ProcessEnv;
  /** Aborts when the process is asked to end. */
  readonly ended: AbortSignal;
  /** Sets who is told to read the configuration again. */
  onReload(listener: () => void): void;
}

/** Runs the command line to its end. @returns the exit code: 0, 1 or 2, as the help text says. */
export async function runCommand(argv: readonly string[], own: CommandProcess): Promise<number> {
  let line: CommandLine;
  try {
    line = parseCommandLine(argv);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    own.stderr.write(`distributed-mcp-pattern: ${error.message}\nSee distributed-mcp-pattern --help.\n`);
    return 2;
  }
  switch (line.command) {
    case 'gateway':
    case 'check':
      return runGateway(line, own);
    case 'print-schema':
      own.stdout.write(`${JSON.stringify(gatewayJsonSchema(), undefined, 2)}\n`);
      return 0;
    case 'api-key': {
      const key = generateApiKey();
      own.stdout.write(`key   ${key}\nhash  ${hashApiKey(key)}\n`);
      return 0;
    }
    case 'help':
      own.stdout.write(HELP);
      return 0;
    case 'version':
      own.stdout.write(`${await version()}\n`);
      return 0;
  }
}

async function runGateway(
  { command, config, watch, log: format }: Extract<CommandLine, { config: string }>,
  own: CommandProcess,
): Promise<number> {
  const clock: Clock = systemClock;
  const log = new Log({ write: (text) => own.stderr.write(text), format: format ?? (own.stderr.isTTY ? 'plain' : 'json'), clock });
  // Timers of the clock keep no process alive, and there may be nothing else before it listens.
  const keepAlive = setInterval(() => {}, 2 ** 30);
  try {
    const options = { config, env: own.env, log, clock };
    if (command === 'check') {
      await GatewayRun.check(options);
      log.info('the configuration is in order', { file: config });
      return 0;
    }
    const run = await GatewayRun.start({ ...options, watch });
    own.onReload(() => void run.reload('told'));
    await new Promise<void>((resolve) => {
      if (own.ended.aborted) resolve();
      own.ended.addEventListener('abort', () => resolve(), { once: true });
    });
    log.info('ending: calls in progress may finish');
    await run.end();
    log.info('ended');
    return 0;
  } catch (error) {
    const problems = problemsOf(error);
    if (problems === undefined) log.error('the gateway cannot serve', { error: errorText(error) });
    else log.error('the configuration cannot be used', { file: config, problems });
    return problems === undefined ? 1 : 2;
  } finally {
    clearInterval(keepAlive);
  }
}

async function version(): Promise<string> {
  const manifest = JSON.parse(await readFile(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string };
  return manifest.version;
}
