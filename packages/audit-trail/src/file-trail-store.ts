import {
  closeSync,
  constants,
  fdatasync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readFileSync,
  readSync,
  renameSync,
  write,
  writeSync,
} from 'node:fs';
import { open, rename } from 'node:fs/promises';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { ConfigurationError, type JsonObject } from '@mcp-blocks/core';
import { damaged } from './damage.js';
import { EMPTY_HEAD, headText, isFault, parseHeadText, parseRecord, type TrailHead } from './record.js';
import type { TrailStore } from './trail-store.js';
import { WriterLock } from './writer-lock.js';

const writeAt = promisify(write);
const sync = promisify(fdatasync);

/**
 * A trail as a file of lines, with its head in `<path>.head`: seq and hash of the last record and the
 * file's length there, replaced after every batch.
 */
export class FileTrailStore implements TrailStore {
  readonly head: TrailHead;
  readonly recovered?: JsonObject;
  readonly #path: string;
  readonly #lock: WriterLock;
  readonly #file: number;
  /** Length of the file up to and including the last durable record. */
  #bytes: number;

  constructor(path: string) {
    this.#path = path;
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
      this.#bytes = bytes;
      if (bytes > anchor.bytes || size > bytes) {
        this.recovered = { adoptedRecords: head.seq - anchor.seq, discardedBytes: size - bytes };
        ftruncateSync(this.#file, bytes);
        fsyncSync(this.#file);
        writeHeadSync(path, head, bytes);
      }
    } catch (error) {
      closeSync(this.#file);
      this.#lock.release();
      throw error;
    }
  }

  async append(records: readonly string[], head: TrailHead): Promise<void> {
    const data = Buffer.from(`${records.join('\n')}\n`, 'utf8');
    // Always at the known end: a repeated call overwrites what a failed one left there.
    let done = 0;
    while (done < data.length) done += (await writeAt(this.#file, data, done, data.length - done, this.#bytes + done)).bytesWritten;
    await sync(this.#file);
    await writeHead(this.#path, head, this.#bytes + data.length);
    this.#bytes += data.length;
  }

  async close(): Promise<void> {
    closeSync(this.#file);
    this.#lock.release();
  }

  /** The head on disk, checked to be the record that ends where it says. */
  #anchor(size: number): TrailHead & { readonly bytes: number } {
    const text = readIfThere(`${this.#path}.head`);
    if (text === undefined) {
      if (size > 0) throw damaged(this.#path, `its head file '${this.#path}.head' is missing`);
      writeHeadSync(this.#path, EMPTY_HEAD, 0);
      return { ...EMPTY_HEAD, bytes: 0 };
    }
    const anchor = parseHeadText(text);
    if (anchor === undefined) throw damaged(this.#path, `its head file '${this.#path}.head' is malformed`);
    if (size < anchor.bytes) throw damaged(this.#path, `it ends before record ${anchor.seq}, which its head names`);
    if (anchor.seq > 0) {
      const last = parseRecord(lineBefore(this.#file, anchor.bytes));
      if (isFault(last) || last.seq !== anchor.seq || last.hash !== anchor.hash) {
        throw damaged(this.#path, `the record its head names, ${anchor.seq}, is not where it was`);
      }
    }
    return anchor;
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

function openFile(path: string): number {
  try {
    // Readable to its owner only: the trail tells who did what.
    return openSync(path, constants.O_RDWR | constants.O_CREAT, 0o600);
  } catch (cause) {
    throw new ConfigurationError('path', `'${path}' cannot be opened for writing: ${(cause as Error).message}`);
  }
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
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

// Replaced by renaming, so that a crash leaves the old head or the new one, never half of one.
async function writeHead(path: string, head: TrailHead, bytes: number): Promise<void> {
  const file = await open(`${path}.head.tmp`, 'w', 0o600);
  try {
    await file.writeFile(headText(head, bytes));
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(`${path}.head.tmp`, `${path}.head`);
  // A directory cannot be opened on Windows, where renaming is durable by itself.
  if (process.platform === 'win32') return;
  const directory = await open(dirname(path), 'r');
  await directory.sync().finally(() => directory.close());
}

function writeHeadSync(path: string, head: TrailHead, bytes: number): void {
  const file = openSync(`${path}.head.tmp`, 'w', 0o600);
  try {
    writeSync(file, headText(head, bytes));
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(`${path}.head.tmp`, `${path}.head`);
  if (process.platform === 'win32') return;
  const directory = openSync(dirname(path), 'r');
  try {
    fsyncSync(directory);
  } finally {
    closeSync(directory);
  }
}
