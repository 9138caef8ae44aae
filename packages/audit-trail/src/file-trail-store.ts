import { closeSync, constants, fdatasync, fstatSync, fsyncSync, ftruncateSync, openSync, readSync, write } from 'node:fs';
import { rename } from 'node:fs/promises';
import { promisify } from 'node:util';
import { type Clock, ConfigurationError, type JsonObject, systemClock } from '@mcp-blocks/core';
import { parseAnchor } from './anchor.js';
import { damaged } from './damage.js';
import { readIfThere, replaceFile, replaceFileSync } from './durable-files.js';
import { EMPTY_HEAD, headText, isFault, parseHeadText, parseRecord, type TrailHead } from './record.js';
import { segmentPath, segmentsOf } from './segments.js';
import type { TrailStore } from './trail-store.js';
import { WriterLock } from './writer-lock.js';

const writeAt = promisify(write);
const sync = promisify(fdatasync);

/** When a file is finished and the next one begun. */
export interface FileRotation {
  /** Bytes after which a file is finished, before the next batch. A positive integer. Default: never. */
  readonly maxFileBytes?: number;
  /** Milliseconds after its first record that a file is finished, before the next batch. A positive integer. Default: never. */
  readonly maxFileAgeMs?: number;
}

/**
 * A trail as a file of lines, with its head in `<path>.head`: seq and hash of the last record and the
 * file's length there, replaced after every batch. Finished files are renamed to `<path>.<last seq>`.
 */
export class FileTrailStore implements TrailStore {
  readonly head: TrailHead;
  readonly recovered?: JsonObject;
  readonly #path: string;
  readonly #lock: WriterLock;
  readonly #rotation: FileRotation;
  readonly #clock: Clock;
  #file: number;
  #last: TrailHead;
  /** Length of the file up to and including the last durable record. */
  #bytes: number;
  /** When the file's first record was written. */
  #since: number;
  /** Set while the file is renamed and the next one not ready: a failed rotation is taken up there. */
  #renamed = false;

  constructor(path: string, rotation: FileRotation = {}, clock: Clock = systemClock) {
    for (const option of ['maxFileBytes', 'maxFileAgeMs'] as const) {
      const value = rotation[option];
      if (value !== undefined && (!Number.isSafeInteger(value) || value < 1)) {
        throw new ConfigurationError(option, `expected a positive integer, got ${value}`);
      }
    }
    this.#path = path;
    this.#rotation = rotation;
    this.#clock = clock;
    this.#lock = new WriterLock(path);
    try {
      this.#file = openFile(path);
    } catch (error) {
      this.#lock.release();
      throw error;
    }
    try {
      const size = fstatSync(this.#file).size;
      const anchor = this.#anchor(size);
      const { head, bytes } = this.#adopt(anchor, size);
      this.head = head;
      this.#last = head;
      this.#bytes = bytes;
      this.#since = firstTime(this.#file, bytes) ?? clock.now();
      if (bytes > anchor.bytes || size > bytes) {
        this.recovered = { adoptedRecords: head.seq - anchor.seq, discardedBytes: size - bytes };
        ftruncateSync(this.#file, bytes);
        fsyncSync(this.#file);
        replaceFileSync(`${path}.head`, headText(head, bytes));
      }
    } catch (error) {
      closeSync(this.#file);
      this.#lock.release();
      throw error;
    }
  }

  async append(records: readonly string[], head: TrailHead): Promise<void> {
    const { maxFileBytes = Number.POSITIVE_INFINITY, maxFileAgeMs = Number.POSITIVE_INFINITY } = this.#rotation;
    if (this.#bytes >= maxFileBytes || (this.#bytes > 0 && this.#clock.now() - this.#since >= maxFileAgeMs)) await this.rotate();
    if (this.#bytes === 0) this.#since = this.#clock.now();
    const data = Buffer.from(`${records.join('\n')}\n`, 'utf8');
    // Always at the known end: a repeated call overwrites what a failed one left there.
    let done = 0;
    while (done < data.length) done += (await writeAt(this.#file, data, done, data.length - done, this.#bytes + done)).bytesWritten;
    await sync(this.#file);
    await replaceFile(`${this.#path}.head`, headText(head, this.#bytes + data.length));
    this.#bytes += data.length;
    this.#last = head;
  }

  /** Finishes the file and begins the next one. Not to be called while `append` is pending. */
  async rotate(): Promise<void> {
    if (this.#bytes === 0) return;
    if (!this.#renamed) {
      // What a failed write left behind the last record.
      ftruncateSync(this.#file, this.#bytes);
      await rename(this.#path, segmentPath(this.#path, this.#last.seq));
      this.#renamed = true;
    }
    const next = openFile(this.#path);
    try {
      await replaceFile(`${this.#path}.head`, headText(this.#last, 0));
    } catch (error) {
      closeSync(next);
      throw error;
    }
    closeSync(this.#file);
    this.#file = next;
    this.#bytes = 0;
    this.#renamed = false;
  }

  async close(): Promise<void> {
    closeSync(this.#file);
    this.#lock.release();
  }

  /** The head on disk, checked to be the record that ends where it says. */
  #anchor(size: number): TrailHead & { readonly bytes: number } {
    const text = readIfThere(`${this.#path}.head`);
    const finished = segmentsOf(this.#path).at(-1);
    if (text === undefined) {
      if (size > 0 || finished !== undefined) throw damaged(this.#path, `its head file '${this.#path}.head' is missing`);
      replaceFileSync(`${this.#path}.head`, headText(EMPTY_HEAD, 0));
      return { ...EMPTY_HEAD, bytes: 0 };
    }
    const anchor = parseHeadText(text);
    if (anchor === undefined) throw damaged(this.#path, `its head file '${this.#path}.head' is malformed`);
    if (anchor.bytes === 0 || (size === 0 && finished?.last === anchor.seq)) {
      // Between two files, or a crash was.
      if (!this.#endsWith(anchor, finished?.path)) throw damaged(this.#path, `record ${anchor.seq}, which its head names, is in no file`);
      if (anchor.bytes > 0) replaceFileSync(`${this.#path}.head`, headText(anchor, 0));
      return { ...anchor, bytes: 0 };
    }
    if (size < anchor.bytes) throw damaged(this.#path, `it ends before record ${anchor.seq}, which its head names`);
    if (!isRecord(lineBefore(this.#file, anchor.bytes), anchor)) {
      throw damaged(this.#path, `the record its head names, ${anchor.seq}, is not where it was`);
    }
    return anchor;
  }

  /** Whether the trail before the present file ends with this record. */
  #endsWith(head: TrailHead, finishedPath: string | undefined): boolean {
    if (finishedPath === undefined) {
      if (head.seq === 0) return head.hash === EMPTY_HEAD.hash;
      const pruned = parseAnchor(readIfThere(`${this.#path}.anchor`)?.trimEnd() ?? '');
      return pruned?.seq === head.seq && pruned.hash === head.hash;
    }
    const file = openSync(finishedPath, 'r');
    try {
      return isRecord(lineBefore(file, fstatSync(file).size), head);
    } finally {
      closeSync(file);
    }
  }

  /** What a crash left behind the head: whole records that continue the chain are kept, the rest is not. */
  #adopt(anchor: TrailHead & { readonly bytes: number }, size: number): { head: TrailHead; bytes: number } {
    let { seq, hash, bytes } = anchor;
    const rest = readRange(this.#file, bytes, size);
    for (let start = 0, end = rest.indexOf(10); end !== -1; start = end + 1, end = rest.indexOf(10, start)) {
      const record = parseRecord(rest.subarray(start, end));
      if (isFault(record) || record.seq !== seq + 1 || record.prev !== hash) break;
      seq = record.seq;
      hash = record.hash;
      bytes = anchor.bytes + end + 1;
    }
    return { head: { seq, hash }, bytes };
  }
}

function isRecord(line: Buffer, { seq, hash }: TrailHead): boolean {
  const record = parseRecord(line);
  return !isFault(record) && record.seq === seq && record.hash === hash;
}

function openFile(path: string): number {
  try {
    // Readable to its owner only: the trail tells who did what.
    return openSync(path, constants.O_RDWR | constants.O_CREAT, 0o600);
  } catch (cause) {
    throw new ConfigurationError('path', `'${path}' cannot be opened for writing: ${(cause as Error).message}`);
  }
}

function readRange(file: number, start: number, end: number): Buffer {
  const buffer = Buffer.alloc(end - start);
  let done = 0;
  while (done < buffer.length) {
    const count = readSync(file, buffer, done, buffer.length - done, start + done);
    if (count === 0) break;
    done += count;
  }
  return buffer.subarray(0, done);
}

/** When the first record within the first `end` bytes was made. */
function firstTime(file: number, end: number): number | undefined {
  for (let length = 65_536; end > 0; length *= 2) {
    const block = readRange(file, 0, Math.min(length, end));
    const feed = block.indexOf(10);
    if (feed === -1 && length < end) continue;
    const record = parseRecord(block.subarray(0, feed));
    return isFault(record) ? undefined : record.event.time;
  }
  return undefined;
}

/** The line that ends, with its line feed, at `end`. Empty when no line ends there. */
function lineBefore(file: number, end: number): Buffer {
  for (let length = 65_536; ; length *= 2) {
    const start = Math.max(0, end - length);
    const block = readRange(file, start, end);
    if (block.at(-1) !== 10) return Buffer.alloc(0);
    const feed = block.lastIndexOf(10, block.length - 2);
    if (feed !== -1 || start === 0) return block.subarray(feed + 1, -1);
  }
}
