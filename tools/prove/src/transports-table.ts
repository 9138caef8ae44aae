import { transportContract } from '@mcp-blocks/core/testing';
import { type Column, REVISIONS } from './transports-matrix.ts';

/** What became of one case in one column. */
export type Cell = { readonly held: number } | { readonly skipped: string } | { readonly failure: string };

/** The matrix as text: a table for each client and era, and a footnote for each reason to skip a case. */
export function table(columns: readonly Column[], cellsOf: (column: Column) => readonly Cell[]): string {
  const notes: string[] = [];
  const note = (reason: string) => {
    if (!notes.includes(reason)) notes.push(reason);
    return letters(notes.indexOf(reason));
  };
  const mark = (cell: Cell | undefined) => {
    if (cell === undefined) return '';
    return 'held' in cell ? '✓' : 'failure' in cell ? '✗' : note(cell.skipped);
  };
  const width = Math.max(...transportContract.map(({ name }) => name.length));
  const titles = [...new Set(columns.map((column) => title(column)))];
  const tables = titles.map((heading) => {
    const mine = columns.filter((column) => title(column) === heading);
    const line = (first: string, rest: readonly string[]) =>
      `${first.padEnd(width)}  ${rest.map((text, index) => text.padEnd(mine[index]?.transport.length ?? 0)).join('  ')}`.trimEnd();
    return [
      line(
        heading,
        mine.map(({ transport }) => transport),
      ),
      ...transportContract.map(({ name }, index) =>
        line(
          name,
          mine.map((column) => mark(cellsOf(column)[index])),
        ),
      ),
    ].join('\n');
  });
  return [...tables, notes.map((reason, index) => `${letters(index)}  ${reason}`).join('\n')].join('\n\n');
}

function title({ client, harness }: Column): string {
  return `${client}, ${REVISIONS[harness.era]}`;
}

/** a, b, … z, aa, ab, … */
function letters(index: number): string {
  const letter = String.fromCharCode(97 + (index % 26));
  return index < 26 ? letter : `${letters(Math.floor(index / 26) - 1)}${letter}`;
}
