#!/usr/bin/env node
import { constants } from 'node:os';
import { runCommand } from './cli/command.js';

/** How long whoever reads our output may take to read the rest. */
const FLUSH_TIMEOUT_MS = 2_000;

const ended = new AbortController();
for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  process.on(signal, () => {
    // The second time it is meant.
    if (ended.signal.aborted) process.exit(128 + constants.signals[signal]);
    ended.abort();
  });
}
let reload = () => {};
process.on('SIGHUP', () => reload());

/** Where in the code, and never the message: nobody knows what is in it. */
function crash(error: unknown): void {
  const { name, code, stack } = error instanceof Error ? (error as NodeJS.ErrnoException) : { name: 'error', code: undefined, stack: '' };
  const frames = (stack ?? '').split('\n').filter((line) => line.startsWith('    at '));
  process.stderr.write(`distributed-mcp-pattern: internal error: ${[name, code].filter(Boolean).join(' ')}\n${frames.join('\n')}\n`);
  process.exit(1);
}

process.on('uncaughtException', crash);
process.on('unhandledRejection', crash);
process.stderr.on('error', () => {});

const { stdout, stderr, env } = process;
const onReload = (listener: () => void) => {
  reload = listener;
};
const code = await runCommand(process.argv.slice(2), { stdout, stderr, env, ended: ended.signal, onReload });
// What was written last gets out first, unless nobody reads it.
stdout.write('', () => stderr.write('', () => process.exit(code)));
setTimeout(() => process.exit(code), FLUSH_TIMEOUT_MS);
