import { type JsonObject, RpcError } from '@mcp-blocks/core';
import { fromBase64, toBase64 } from './base64.js';

/** One page of a list, and the cursor of the next where there is one. */
export interface Page<Entry> {
  readonly entries: readonly Entry[];
  readonly nextCursor?: string;
}

/**
 * One page of the entries that `visible` says yes to, asked in batches (MCP 2026-07-28, server/utilities/pagination). A cursor
 * holds the key of the page's last entry, so it stays good when entries come and go.
 *
 * @param entries - in the order of their keys.
 * @throws RpcError `invalid_params` for a cursor that no list of this kind gave out.
 */
export async function page<Entry extends { readonly key: string }>(
  kind: string,
  entries: readonly Entry[],
  visible: (entries: readonly Entry[]) => Promise<readonly boolean[]>,
  params: JsonObject,
  pageSize: number,
): Promise<Page<Entry>> {
  const after = params.cursor === undefined ? undefined : decodeCursor(kind, params.cursor);
  const open = after === undefined ? entries : entries.filter((entry) => entry.key > after);
  const found: Entry[] = [];
  // One more than the page holds tells whether there is a next one.
  for (let at = 0; at < open.length && found.length <= pageSize; at += pageSize + 1) {
    const batch = open.slice(at, at + pageSize + 1);
    const shown = await visible(batch);
    found.push(...batch.filter((_entry, index) => shown[index]));
  }
  if (found.length <= pageSize) return { entries: found };
  const shown = found.slice(0, pageSize);
  return { entries: shown, nextCursor: encodeCursor(kind, (shown.at(-1) as Entry).key) };
}

function encodeCursor(kind: string, key: string): string {
  return toBase64(new TextEncoder().encode(`${kind}\n${key}`));
}

function decodeCursor(kind: string, cursor: unknown): string {
  const bytes = typeof cursor === 'string' ? fromBase64(cursor) : undefined;
  const text = bytes === undefined ? '' : new TextDecoder().decode(bytes);
  if (!text.startsWith(`${kind}\n`)) throw new RpcError('invalid_params', 'cursor: not a cursor of this list; start without one');
  return text.slice(kind.length + 1);
}
