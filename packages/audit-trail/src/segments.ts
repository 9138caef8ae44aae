import { readdirSync } from 'node:fs';
import { basename, dirname } from 'node:path';

/** A finished file of a trail: `<path>.<seq of its last record>`. */
export interface Segment {
  readonly path: string;
  readonly last: number;
}

export function segmentPath(path: string, last: number): string {
  return `${path}.${last}`;
}

/** The finished files of the trail at `path`, oldest first. */
export function segmentsOf(path: string): Segment[] {
  const prefix = `${basename(path)}.`;
  return readdirSync(dirname(path))
    .filter((name) => name.startsWith(prefix) && /^[1-9]\d{0,15}$/.test(name.slice(prefix.length)))
    .map((name) => ({ last: Number(name.slice(prefix.length)) }))
    .sort((a, b) => a.last - b.last)
    .map(({ last }) => ({ path: segmentPath(path, last), last }));
}
