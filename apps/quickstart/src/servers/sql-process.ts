import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { ToolError } from '@mcp-blocks/authenticated-tool-registry';
import { SqlOutcome, type SqlStatement } from './sql-statement.js';

const RUNNER = fileURLToPath(new URL('./sql-runner.js', import.meta.url));
const MAX_WAITING = 50;

/**
 * Runs callers' SQL in a process of its own. `node:sqlite` holds up the whole process while a statement
 * runs, and cannot be interrupted; a process can be killed, and is when a statement takes too long.
 */
export class SqlProcess {
  readonly #file: string;
  readonly #timeoutMs: number;
  #child: ChildProcess | undefined;
  #turn: Promise<unknown> = Promise.resolve();
  #waiting = 0;

  /** @param timeoutMs - longest that one statement may run. */
  constructor(file: string, timeoutMs: number) {
    this.#file = file;
    this.#timeoutMs = timeoutMs;
  }

  /** The rows of one SELECT, the first 200 of them. @throws ToolError telling what SQLite did not like. */
  async query(sql: string, values: SqlStatement['values']): Promise<{ rows: Record<string, unknown>[]; truncated: boolean }> {
    const outcome = await this.#inTurn({ access: 'read', sql, values });
    if ('rows' in outcome) return outcome;
    throw new ToolError('error' in outcome ? outcome.error : 'The statement returned no rows');
  }

  /** Runs one INSERT, UPDATE or DELETE; resolves with how many rows it changed. @throws ToolError as `query` does. */
  async change(sql: string, values: SqlStatement['values']): Promise<number> {
    const outcome = await this.#inTurn({ access: 'write', sql, values });
    if ('changes' in outcome) return outcome.changes;
    throw new ToolError('error' in outcome ? outcome.error : 'The statement changed nothing');
  }

  close(): void {
    this.#child?.kill('SIGKILL');
    this.#child = undefined;
  }

  async #inTurn(statement: SqlStatement): Promise<SqlOutcome> {
    if (this.#waiting >= MAX_WAITING) throw new ToolError('Too many statements are waiting; try again later');
    this.#waiting += 1;
    const outcome = this.#turn.then(() => this.#run(statement));
    this.#turn = outcome.catch(() => {});
    return outcome.finally(() => {
      this.#waiting -= 1;
    });
  }

  async #run(statement: SqlStatement): Promise<SqlOutcome> {
    const child = (this.#child ??= fork(RUNNER, [this.#file, String(process.pid)], {
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      execArgv: ['--disable-warning=ExperimentalWarning', '--max-old-space-size=128'],
    }));
    let timedOut = false;
    const timer = setTimeout(() => {
      timedOut = true;
      child.kill('SIGKILL');
    }, this.#timeoutMs);
    const ended = new AbortController();
    try {
      child.send(statement, () => {
        // A runner that cannot be reached has ended, which is noticed below.
      });
      const [answer] = (await Promise.race([
        once(child, 'message', ended),
        once(child, 'exit', ended).then(() => {
          throw new ToolError(timedOut ? `The statement took longer than ${this.#timeoutMs} ms` : 'The statement could not be run');
        }),
      ])) as [unknown];
      return SqlOutcome.parse(answer);
    } catch (error) {
      child.kill('SIGKILL');
      if (this.#child === child) this.#child = undefined;
      throw error;
    } finally {
      clearTimeout(timer);
      ended.abort();
    }
  }
}
