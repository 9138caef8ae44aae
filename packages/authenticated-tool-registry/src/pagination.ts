import { type JsonObject, RpcError } from '@mcp-blocks/core';
import { fromBase64, toBase64 } from './base64.js';

/** One page of a list, and the cursor of the next where there is one. */
export interface Page<Entry> {
  readonly entries: readonly Entry[];
  readonly nextCursor?: string;
}

/**
 * One page of the entries that pass `visible` (MCP 2026-07-28, server/utilities/pagination). A cursor
 * holds the key of the page's last entry, so it stays good when entries come and go.
 *
 * @param entries - in the order of their keys.
 * @throws RpcError `invalid_params` for a cursor that no list of this kind gave out.
 */
export function page<Entry extends { readonly key: string }>(
  kind: string,
  entries: readonly Entry[],
  visible: (entry: Entry) => boolean,
  params: JsonObject,
  pageSize: number,
): Page<Entry> {
  const after = params.cursor === undefined ? undefined : decodeCursor(kind, params.cursor);
  const found: Entry[] = [];
  for (const entry of entries) {
    if (after !== undefined && entry.key <= after) continue;
    if (!visible(entry)) continue;
    const last = found[pageSize - 1];
    if (last !== undefined) return { entries: found, nextCursor: encodeCursor(kind, last.key) };
    found.push(entry);
  }
  return { entries: found };
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
