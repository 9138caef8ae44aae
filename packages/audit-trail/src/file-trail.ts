import { createReadStream, createWriteStream } from 'node:fs';
import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { basename } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { isRpcError } from '@mcp-blocks/core';
import { anchorText, parseAnchor, type TrailAnchor } from './anchor.js';
import { ChainedAuditSink } from './chained-audit-sink.js';
import { readIfThere, replaceFile, syncFolderOf } from './durable-files.js';
import { FileTrailStore } from './file-trail-store.js';
import { isFault, parseHeadText, parseRecord, type TrailHead } from './record.js';
import { segmentsOf } from './segments.js';
import type { OpenTrail, Pruning, RawRecord, StoredTrail } from './trail.js';
import { WriterLock } from './writer-lock.js';

/** The trail of a `FileAuditSink`: finished files `<path>.<last seq>`, then the file at `path`. */
export function fileTrail(path: string): StoredTrail {
  return { open: () => openFiles(path), startPruning: () => startPruning(path) };
}

async function openFiles(path: string): Promise<OpenTrail> {
  const head = readHead(`${path}.head`);
  const anchor = readAnchor(`${path}.anchor`);
  // Opened before the others are listed: should it be finished meanwhile, it is known by its inode.
  const current = await openIfThere(path);
  const segments = segmentsOf(path);
  return {
    head,
    anchor,
    async *records(after = 0) {
      for (const segment of segments) {
        if (segment.last <= after) continue;
        const file = await open(segment.path);
        try {
          if (current !== undefined && (await file.stat()).ino === (await current.stat()).ino) continue;
          yield* lines(file, basename(segment.path), true);
        } finally {
          await file.close();
        }
      }
      if (current !== undefined) yield* lines(current, segments.length === 0 ? undefined : basename(path), false);
    },
    close: async () => current?.close(),
  };
}

async function openIfThere(path: string): Promise<FileHandle | undefined> {
  try {
    return await open(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

function readHead(path: string): TrailHead | string {
  const text = readIfThere(path);
  if (text === undefined) return `the head file '${path}' is missing, so that nobody can tell whether records were dropped from the end`;
  const head = parseHeadText(text);
  return head === undefined ? `the head file '${path}' is malformed` : { seq: head.seq, hash: head.hash };
}

function readAnchor(path: string): TrailAnchor | string | undefined {
  const text = readIfThere(path);
  if (text === undefined) return undefined;
  return (text.endsWith('\n') ? parseAnchor(text.slice(0, -1)) : undefined) ?? `the anchor file '${path}' is malformed`;
}

const READ_BYTES = 262_144;

async function* lines(handle: FileHandle, file: string | undefined, finished: boolean): AsyncGenerator<RawRecord> {
  const named = file === undefined ? {} : { file };
  let line = 0;
  let parts: Buffer[] = [];
  for (let position = 0; ; ) {
    const { bytesRead, buffer } = await handle.read(Buffer.allocUnsafe(READ_BYTES), 0, READ_BYTES, position);
    if (bytesRead === 0) break;
    position += bytesRead;
    const chunk = buffer.subarray(0, bytesRead);
    let start = 0;
    for (let end = chunk.indexOf(10); end !== -1; end = chunk.indexOf(10, start)) {
      parts.push(chunk.subarray(start, end));
      line += 1;
      yield { line, ...named, bytes: parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts), complete: true };
      parts = [];
      start = end + 1;
    }
    if (start < chunk.length) parts.push(chunk.subarray(start));
  }
  // No crash leaves half a line in a finished file.
  if (parts.length > 0) yield { line: line + 1, ...named, bytes: finished ? Buffer.alloc(0) : Buffer.concat(parts), complete: finished };
}

async function startPruning(path: string): Promise<Pruning> {
  const pruner = new WriterLock(`${path}.anchor`, 'is being pruned already');
  let store: FileTrailStore | undefined;
  let sink: ChainedAuditSink | undefined;
  try {
    try {
      store = new FileTrailStore(path);
      const opened = store;
      // Tells in the trail what a crash left, as any sink does.
      sink = new ChainedAuditSink(() => opened);
      await sink.flush();
    } catch (error) {
      // Somebody writes it: the finished files can be pruned all the same.
      if (!isRpcError(error) || error.code !== 'unavailable' || store !== undefined) throw error;
    }
  } catch (error) {
    pruner.release();
    throw error;
  }
  return {
    limit: store === undefined ? (segmentsOf(path).at(-1)?.last ?? 0) : Number.MAX_SAFE_INTEGER,
    cut: async (anchor) => {
      if (anchor.seq > (segmentsOf(path).at(-1)?.last ?? 0)) await store?.rotate();
      await replaceFile(`${path}.anchor`, `${anchorText(anchor)}\n`);
      for (const segment of segmentsOf(path)) {
        if (segment.last <= anchor.seq) await rm(segment.path);
        else await dropFirst(segment.path, anchor.seq);
      }
      await syncFolderOf(path);
    },
    release: async () => {
      await sink?.close();
      pruner.release();
    },
  };
}

/** Rewrites a finished file without its records up to `seq`, all of them intact. */
async function dropFirst(path: string, seq: number): Promise<void> {
  const handle = await open(path);
  let start = 0;
  try {
    for await (const { bytes } of lines(handle, undefined, true)) {
      const record = parseRecord(bytes);
      if (isFault(record) || record.seq > seq) break;
      start += bytes.length + 1;
    }
  } finally {
    await handle.close();
  }
  if (start === 0) return;
  await pipeline(createReadStream(path, { start }), createWriteStream(`${path}.tmp`, { mode: 0o600, flush: true }));
  await rename(`${path}.tmp`, path);
}
