import { parseArgs } from 'node:util';
import { exportAuditTrail } from './export.js';
import type { AuditFilter } from './filter.js';
import { pruneAuditTrail } from './prune.js';
import { queryAuditTrail } from './query.js';
import { recordText, type TrailHead } from './record.js';
import type { StoredTrail } from './trail.js';
import { verifyAuditTrail } from './verify.js';
import { visibleText } from './visible-text.js';

const USAGE = `Usage: mcp-audit verify <trail> [--head <seq>:<hash>]
       mcp-audit query  <trail> [filter] [--limit <records>] [--cursor <cursor>]
       mcp-audit export <trail> --format csv|jsonl [filter]
       mcp-audit prune  <trail> --before <time> | --keep <records>

<trail> is a .jsonl file, an SQLite database, or the postgres:// URL of a PostgreSQL database (its password
best in PGPASSWORD, its schema, unless mcp_audit, as --schema <name>).

verify  checks the hash chain and says in one line what it found. --head also requires the trail to
        contain this record, known from elsewhere.
query   prints the records that match, a JSON line each, and last the cursor of the next page, if any.
export  prints all records that match.
prune   cuts records off the beginning and puts an anchor there; the rest still verifies.

filter: --actor --type --target --outcome <text>  --from --to <time>
<time>: ISO 8601, such as 2026-07-28 or 2026-07-28T10:00:00Z, or epoch milliseconds.
The environment variable MCP_AUDIT_ANCHOR_KEY signs anchors (prune) and checks them (verify, prune).
Exit code: 0 done, intact; 1 not intact; 2 could not be done.`;

const TEXTS = [
  'head',
  'actor',
  'type',
  'target',
  'outcome',
  'from',
  'to',
  'limit',
  'cursor',
  'format',
  'before',
  'keep',
  'schema',
] as const;
const FILTER = ['actor', 'type', 'target', 'outcome', 'from', 'to'] as const;
const ALLOWED: Readonly<Record<string, readonly string[]>> = {
  verify: ['head'],
  query: [...FILTER, 'limit', 'cursor'],
  export: [...FILTER, 'format'],
  prune: ['before', 'keep'],
};

type Values = Partial<Record<(typeof TEXTS)[number], string>>;

/** What the command line reads and writes. */
export interface CommandEnvironment {
  print(line: string): void;
  /** Writes text as it is; resolves when there is room for more. */
  write(text: string): Promise<void>;
  readonly anchorKey?: string | undefined;
}

/** The command line `mcp-audit`. Resolves with the exit code. */
export async function runAuditCommand(args: readonly string[], environment: CommandEnvironment): Promise<0 | 1 | 2> {
  const { print } = environment;
  let invocation: { command: string; path: string; values: Values };
  try {
    const options = Object.fromEntries(TEXTS.map((name) => [name, { type: 'string' as const }]));
    const { values, positionals } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: { ...options, help: { type: 'boolean', short: 'h' } },
    });
    const { help, ...rest } = values as Values & { help?: boolean };
    if (help) {
      print(USAGE);
      return 0;
    }
    const [command = '', path, ...others] = positionals;
    const allowed = Object.hasOwn(ALLOWED, command) ? ALLOWED[command] : undefined;
    if (allowed === undefined) throw new Error(`expected one of ${Object.keys(ALLOWED).join(', ')}, got '${command}'`);
    if (path === undefined || others.length > 0) throw new Error(`${command}: expected one trail`);
    const stray = Object.keys(rest).find((name) => name !== 'schema' && !allowed.includes(name));
    if (stray !== undefined) throw new Error(`${command} has no option --${stray}`);
    invocation = { command, path, values: rest };
  } catch (error) {
    print(`mcp-audit: ${(error as Error).message}\n\n${USAGE}`);
    return 2;
  }
  const { command, path, values } = invocation;

  try {
    if (command === 'verify') return await verify(path, values, environment);
    if (command === 'query') return await query(path, values, environment);
    if (command === 'export') return await exportAll(path, values, environment);
    return await prune(path, values, environment);
  } catch (error) {
    print(
      `${path}: could not be ${{ verify: 'checked', query: 'queried', export: 'exported' }[command] ?? 'pruned'}: ${(error as Error).message}`,
    );
    return 2;
  }
}

async function verify(path: string, { head, ...values }: Values, { print, anchorKey }: CommandEnvironment): Promise<0 | 1> {
  const result = await verifyAuditTrail(await trailAt(path, values.schema), {
    ...(head === undefined ? {} : { publishedHead: parseHead(head) }),
    ...(anchorKey === undefined ? {} : { anchorKey }),
  });
  if (!result.ok) {
    const { file, line, message } = result.problem;
    const place = file === undefined ? `line ${line}` : `${file}, line ${line}`;
    print(`${path}: NOT INTACT, ${place}: ${message}; ${result.records} records before it are intact`);
    return 1;
  }
  const { pruned } = result;
  const after = result.unanchored === 0 ? '' : `, ${result.unanchored} of them after the stored head`;
  const signature = pruned?.mac === undefined ? 'unsigned' : anchorKey === undefined ? 'signature not checked' : 'signature right';
  const before = pruned === undefined ? '' : `, 1 to ${pruned.seq} pruned (last on ${new Date(pruned.time).toISOString()}, ${signature})`;
  print(`${path}: intact, ${result.records} records${after}, head ${result.head.seq}:${result.head.hash}${before}`);
  return 0;
}

async function query(path: string, { limit, cursor, ...values }: Values, { print }: CommandEnvironment): Promise<0> {
  const page = await queryAuditTrail(await trailAt(path, values.schema), {
    ...filterOf(values),
    ...(limit === undefined ? {} : { limit: numberOf('limit', limit) }),
    ...(cursor === undefined ? {} : { cursor }),
  });
  for (const record of page.records) print(visibleText(recordText(record)));
  if (page.cursor !== undefined) print(JSON.stringify({ cursor: page.cursor }));
  return 0;
}

async function exportAll(path: string, { format, ...values }: Values, { write }: CommandEnvironment): Promise<0> {
  const pieces = exportAuditTrail(await trailAt(path, values.schema), { ...filterOf(values), format: format as 'csv' });
  for await (const piece of pieces) await write(piece);
  return 0;
}

async function prune(path: string, { before, keep, ...values }: Values, { print, anchorKey }: CommandEnvironment): Promise<0> {
  const { pruned, kept, postponed } = await pruneAuditTrail(await trailAt(path, values.schema), {
    ...(before === undefined ? {} : { before: timeOf('before', before) }),
    ...(keep === undefined ? {} : { keepRecords: numberOf('keep', keep) }),
    ...(anchorKey === undefined ? {} : { anchorKey }),
  });
  const later = postponed === 0 ? '' : `, ${postponed} not yet: the file that holds them is being written`;
  print(`${path}: ${pruned} records pruned, ${kept} kept${later}`);
  return 0;
}

async function trailAt(path: string, schema: string | undefined): Promise<string | StoredTrail> {
  if (!/^postgres(ql)?:/.test(path)) return path;
  const { postgresTrail } = await import('./postgres-trail.js');
  return postgresTrail({ url: path, ...(schema === undefined ? {} : { schema }) });
}

function filterOf({ actor, type, target, outcome, from, to }: Values): AuditFilter {
  return {
    ...(actor === undefined ? {} : { actor }),
    ...(type === undefined ? {} : { type }),
    ...(target === undefined ? {} : { target }),
    ...(outcome === undefined ? {} : { outcome: outcome as NonNullable<AuditFilter['outcome']> }),
    ...(from === undefined ? {} : { from: timeOf('from', from) }),
    ...(to === undefined ? {} : { to: timeOf('to', to) }),
  };
}

function parseHead(text: string): TrailHead {
  const match = /^(\d+):([0-9a-f]{64})$/.exec(text);
  if (match === null) throw new Error(`--head: expected <seq>:<64 hex digits>, got '${text}'`);
  return { seq: Number(match[1]), hash: match[2] as string };
}

function numberOf(option: string, text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new Error(`--${option}: expected a number, got '${text}'`);
  return Number(text);
}

function timeOf(option: string, text: string): number {
  const time = /^\d+$/.test(text) ? Number(text) : /^\d{4}-\d\d-\d\d/.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(time)) throw new Error(`--${option}: expected ISO 8601 or epoch milliseconds, got '${text}'`);
  return time;
}
