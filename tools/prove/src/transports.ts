import { type TransportCase, transportContract } from '@mcp-blocks/core/testing';
import type { Finding, Proof } from './proof.ts';
import { BROKEN, isFound } from './transports-broken.ts';
import { type Column, columns } from './transports-matrix.ts';
import { type Cell, table } from './transports-table.ts';

/** Every case of the transport contract on every transport, in both eras, with every client. */
export const proof: Proof = {
  name: 'transports',
  n: 1,
  run: (n, progress) => proveTransports(columns(), n, progress),
};

/** Runs each cell of the columns `n` times. */
export async function proveTransports(matrix: readonly Column[], n: number, progress: (done: number) => void): Promise<Finding> {
  const cells = new Map<Column, Cell[]>();
  const total = matrix.length * transportContract.length;
  let done = 0;
  const lane = async (mine: readonly Column[]) => {
    for (const column of mine) {
      const row: Cell[] = [];
      for (const each of transportContract) {
        row.push(await runCell(each, column, n));
        done += 1;
        progress(Math.floor((done * n) / total));
      }
      cells.set(column, row);
    }
  };
  // Starting processes is mostly waiting.
  await Promise.all([lane(matrix.filter(isStdio)), lane(matrix.filter((column) => !isStdio(column)))]);

  const all = [...cells.values()].flat();
  const failed = [...cells].flatMap(([column, row]) =>
    row.flatMap((cell, index) =>
      'failure' in cell
        ? [`${column.transport} ${column.harness.era} ${column.client}: ${transportContract[index]?.name}: ${cell.failure}`]
        : [],
    ),
  );
  const skipped = all.filter((cell) => 'skipped' in cell);
  const unexplained = skipped.filter(({ skipped: reason }) => reason.trim() === '').length;
  const missed = await missedMistakes();
  const [ran, found] = [all.length - skipped.length, BROKEN.length - missed.length];
  const number = (value: number) => value.toLocaleString('en');
  return {
    held: failed.length === 0 && unexplained === 0 && missed.length === 0,
    table: table(matrix, (column) => cells.get(column) ?? []),
    figure:
      `${number(ran - failed.length)}/${number(ran)} cells hold, each ${number(n)} times; ` +
      `${number(skipped.length)} skipped with their reasons, ${unexplained} without; ` +
      `${found}/${BROKEN.length} broken transports found`,
    details: [...failed, ...missed.map((name) => `not found: a transport that ${name}`)].slice(0, 20),
  };
}

const isStdio = ({ transport }: Column) => transport === 'stdio';

async function runCell({ run, skipReason }: TransportCase, { harness }: Column, n: number): Promise<Cell> {
  const skipped = skipReason(harness);
  if (skipped !== undefined) return { skipped };
  for (let time = 1; time <= n; time += 1) {
    try {
      await run(harness);
    } catch (error) {
      return { failure: `${n === 1 ? '' : `time ${time}: `}${error instanceof Error ? error.message : String(error)}` };
    }
  }
  return { held: n };
}

async function missedMistakes(): Promise<string[]> {
  const missed: string[] = [];
  for (const broken of BROKEN) {
    const found = await Promise.all([isFound(broken, 'modern'), isFound(broken, 'legacy')]);
    if (found.includes(false)) missed.push(broken.name);
  }
  return missed;
}
