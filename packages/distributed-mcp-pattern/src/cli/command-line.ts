import { parseArgs } from 'node:util';

/** What to do. */
export type CommandLine =
  | { readonly command: 'gateway' | 'check'; readonly config: string; readonly watch: boolean; readonly log: 'json' | 'plain' | undefined }
  | { readonly command: 'print-schema' | 'api-key' | 'help' | 'version' };

/** A command line that cannot be understood. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

const OPTIONS = {
  config: { type: 'string' },
  check: { type: 'boolean' },
  'no-watch': { type: 'boolean' },
  log: { type: 'string' },
  'print-schema': { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
  version: { type: 'boolean' },
} as const;

export const HELP = `Usage: distributed-mcp-pattern gateway --config <file> [options]
       distributed-mcp-pattern gateway --print-schema
       distributed-mcp-pattern api-key

gateway serves many MCP services behind one endpoint, as its configuration file (JSON)
says. The file is followed: a changed one is applied without dropping calls, a wrong
one is refused and the old one stays in force. SIGHUP reads it at once. SIGTERM and
SIGINT let calls in progress end first; the second time they end everything at once.
Lines about what happens go to stderr.

  --config FILE    the configuration
  --check          says what is wrong with it, opens nothing, and ends
  --no-watch       does not follow the file; SIGHUP still reads it
  --log FORMAT     json or plain; plain on a terminal, else json
  --print-schema   the JSON Schema of the configuration, to stdout
  --help, --version

api-key makes an API key: the key, for its owner, and its hash, for the file.

Exit codes: 0 when it was told to end, or the configuration is in order, 1 when it
cannot serve, 2 for a wrong command line or configuration.
`;

/** @throws UsageError */
export function parseCommandLine(argv: readonly string[]): CommandLine {
  const { values, positionals } = parse(argv);
  if (values.help === true) return { command: 'help' };
  if (values.version === true) return { command: 'version' };
  const [command, ...rest] = positionals;
  if (rest.length > 0) throw new UsageError(`Unexpected: ${rest.join(' ')}`);
  if (command === 'api-key') {
    if (Object.keys(values).length > 0) throw new UsageError('api-key has no options');
    return { command };
  }
  if (command !== 'gateway')
    throw new UsageError(`${command === undefined ? 'A command is missing' : 'Unknown command'}: gateway or api-key`);
  if (values['print-schema'] === true) return { command: 'print-schema' };
  const { config, check = false, 'no-watch': still = false, log } = values;
  if (config === undefined) throw new UsageError('--config is missing');
  if (log !== undefined && log !== 'json' && log !== 'plain') throw new UsageError('--log: expected json or plain');
  return { command: check ? 'check' : 'gateway', config, watch: !still, log };
}

function parse(argv: readonly string[]) {
  try {
    return parseArgs({ args: [...argv], options: OPTIONS, allowPositionals: true });
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}
