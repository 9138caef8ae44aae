import { type Clock, ConfigurationError, RpcError, systemClock } from '@mcp-blocks/core';
import { checkAnchorKey, signed, type TrailAnchor } from './anchor.js';
import { trailOf } from './open-trail.js';
import { findRecords } from './query.js';
import type { StoredTrail } from './trail.js';
import { verifyOpen } from './verify.js';

/** What to prune: one of `before` and `keepRecords`. */
export interface PruneOptions {
  /**
   * Prune records of events before this time, epoch milliseconds: from the first record up to one that is
   * not, so that no later record goes.
   */
  readonly before?: number;
  /** Prune all but the newest so many records, 0 or more. */
  readonly keepRecords?: number;
  /**
   * Signs the anchor with HMAC-SHA256; at least 16 characters. Without one, who can write the trail can
   * cut its beginning off and pass that for a pruning. Keep it where they are not. A trail pruned with a key is pruned with it again.
   */
  readonly anchorKey?: string;
  readonly clock?: Clock;
}

/** What a pruning did. */
export interface Pruned {
  /** How many records were cut now. */
  readonly pruned: number;
  /** How many are left. */
  readonly kept: number;
  /** How many more would have been cut, were the file that holds them not being written. */
  readonly postponed: number;
  /** What stands for all that was ever pruned; absent when nothing was. */
  readonly anchor?: TrailAnchor;
}

/**
 * Cuts records off the beginning of a trail (its path, or a stored trail) and puts an anchor there, which
 * names the last one cut, so that the rest still verifies. The whole trail is verified first.
 *
 * A trail may be pruned while it is written. Of a file trail then only finished files are, the rest is
 * `postponed`. A crash leaves a trail that verifies; the next pruning finishes the work.
 *
 * @throws ConfigurationError when an option is wrong; RpcError `unavailable` when somebody else prunes the
 * trail, `internal_error` when it is not intact: then nothing is cut.
 */
export async function pruneAuditTrail(source: string | StoredTrail, options: PruneOptions): Promise<Pruned> {
  const { before, keepRecords, anchorKey, clock = systemClock } = options;
  if ((before === undefined) === (keepRecords === undefined)) {
    throw new ConfigurationError('before', 'expected either before or keepRecords');
  }
  if (before !== undefined && !Number.isFinite(before))
    throw new ConfigurationError('before', `expected epoch milliseconds, got ${before}`);
  if (keepRecords !== undefined && !(Number.isSafeInteger(keepRecords) && keepRecords >= 0)) {
    throw new ConfigurationError('keepRecords', `expected an integer of at least 0, got ${keepRecords}`);
  }
  checkAnchorKey(anchorKey);
  const stored = trailOf(source);
  const pruning = await stored.startPruning();
  try {
    const found = await survey(stored, before, anchorKey);
    const wanted = Math.max(found.start, keepRecords === undefined ? found.lastBefore : found.end - keepRecords);
    const seq = Math.max(found.start, Math.min(wanted, pruning.limit));
    const postponed = wanted - seq;
    const unfinished = found.first !== undefined && found.first <= found.start;
    if (seq === found.start) {
      if (found.anchor !== undefined && unfinished) await pruning.cut(found.anchor);
      return { pruned: 0, kept: found.end - seq, postponed, ...(found.anchor === undefined ? {} : { anchor: found.anchor }) };
    }
    const hash = await hashOf(stored, seq);
    const anchor = signed({ seq, hash, count: seq - found.start, time: clock.now() }, anchorKey);
    await pruning.cut(anchor);
    return { pruned: anchor.count, kept: found.end - seq, postponed, anchor };
  } finally {
    await pruning.release();
  }
}

interface Survey {
  readonly anchor: TrailAnchor | undefined;
  /** What was pruned before. */
  readonly start: number;
  /** Seq of the first record that is there. */
  readonly first: number | undefined;
  readonly end: number;
  /** The last record of those at the beginning that are before the time asked for. */
  readonly lastBefore: number;
}

async function survey(stored: StoredTrail, before: number | undefined, anchorKey: string | undefined): Promise<Survey> {
  const trail = await stored.open();
  try {
    let first: number | undefined;
    let lastBefore = 0;
    let passed = before === undefined;
    const result = await verifyOpen(trail, anchorKey === undefined ? {} : { anchorKey }, ({ seq, event }) => {
      first ??= seq;
      if (!passed && event.time < (before as number)) lastBefore = seq;
      else passed = true;
    });
    if (!result.ok) throw new RpcError('internal_error', `The audit trail is not intact, so it is not pruned: ${result.problem.message}`);
    return { anchor: result.pruned, start: result.pruned?.seq ?? 0, first, end: result.head.seq, lastBefore };
  } finally {
    await trail.close();
  }
}

/** The hash of a record that was just found intact. */
async function hashOf(stored: StoredTrail, seq: number): Promise<string> {
  for await (const record of findRecords(stored, {}, seq - 1)) return record.hash;
  throw new RpcError('internal_error', `Record ${seq} is gone`);
}
