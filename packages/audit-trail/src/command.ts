import { parseArgs } from 'node:util';
import type { TrailHead } from './record.js';
import { verifyAuditTrail } from './verify.js';

const USAGE = `Usage: mcp-audit verify <trail> [--head <seq>:<hash>]

Checks a hash-chained audit trail, a .jsonl file or an SQLite database, and says in one line what it found.
--head also requires the trail to contain this record, known from elsewhere.
Exit code: 0 intact, 1 not intact, 2 could not be checked.`;

/** The command line `mcp-audit`: prints to `print`, resolves with the exit code. */
export async function runAuditCommand(args: readonly string[], print: (line: string) => void): Promise<0 | 1 | 2> {
  let path: string | undefined;
  let published: TrailHead | undefined;
  try {
    const { values, positionals } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: { head: { type: 'string' }, help: { type: 'boolean', short: 'h' } },
    });
    if (values.help) {
      print(USAGE);
      return 0;
    }
    const [command, ...paths] = positionals;
    path = paths[0];
    if (command !== 'verify' || path === undefined || paths.length !== 1) throw new Error(`expected 'verify' and one trail`);
    published = values.head === undefined ? undefined : parseHead(values.head);
  } catch (error) {
    print(`mcp-audit: ${(error as Error).message}\n\n${USAGE}`);
    return 2;
  }
  try {
    const result = await verifyAuditTrail(path, published === undefined ? {} : { publishedHead: published });
    if (!result.ok) {
      print(`${path}: NOT INTACT, line ${result.problem.line}: ${result.problem.message}; ${result.records} records before it are intact`);
      return 1;
    }
    const after = result.unanchored === 0 ? '' : `, ${result.unanchored} of them after the stored head`;
    print(`${path}: intact, ${result.records} records${after}, head ${result.head.seq}:${result.head.hash}`);
    return 0;
  } catch (error) {
    print(`${path}: could not be checked: ${(error as Error).message}`);
    return 2;
  }
}

function parseHead(text: string): TrailHead {
  const match = /^(\d+):([0-9a-f]{64})$/.exec(text);
  if (match === null) throw new Error(`--head: expected <seq>:<64 hex digits>, got '${text}'`);
  return { seq: Number(match[1]), hash: match[2] as string };
}
