import type { JsonObject, RpcResult } from '@mcp-blocks/core';
import type { RequestOptions } from './config.js';

/** One request of a batch, with options of its own. */
export interface BatchItem extends RequestOptions {
  readonly method: string;
  readonly params?: JsonObject;
}

/** What became of it. */
export type BatchResult = { readonly ok: true; readonly result: RpcResult } | { readonly ok: false; readonly error: unknown };

/**
 * Makes many requests, `concurrency` at a time, and resolves with what became of each, in their order.
 *
 * Each is a message of its own: MCP has had no JSON-RPC batches since 2025-06-18.
 */
export async function runBatch(
  items: readonly BatchItem[],
  concurrency: number,
  request: (method: string, params: JsonObject, options: RequestOptions) => Promise<RpcResult>,
): Promise<readonly BatchResult[]> {
  const results: BatchResult[] = [];
  const waiting = items.entries();
  const lane = async () => {
    for (const [index, { method, params = {}, ...options }] of waiting) {
      results[index] = await request(method, params, options).then(
        (result) => ({ ok: true, result }),
        (error: unknown) => ({ ok: false, error }),
      );
    }
  };
  await Promise.all(Array.from({ length: Math.min(concurrency, items.length) }, lane));
  return results;
}
