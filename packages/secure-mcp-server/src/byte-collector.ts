/** The least that is reserved at a time. */
const MIN_BLOCK_BYTES = 4096;

/**
 * Puts pieces of bytes together. They are copied: a sender who sends a byte at a time would otherwise take a
 * hundred times what it sent, in objects that each hold one.
 */
export class ByteCollector {
  #block: Buffer = Buffer.alloc(0);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  append(piece: Buffer): void {
    const length = this.#length + piece.length;
    if (length > this.#block.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(MIN_BLOCK_BYTES, length, 2 * this.#block.length));
      this.#block.copy(larger, 0, 0, this.#length);
      this.#block = larger;
    }
    piece.copy(this.#block, this.#length);
    this.#length = length;
  }

  /** What was put together so far; begins anew. */
  take(): Buffer {
    const whole = this.#block.subarray(0, this.#length);
    this.#block = Buffer.alloc(0);
    this.#length = 0;
    return whole;
  }
}
