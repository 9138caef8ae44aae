/** FNV-1a over UTF-16 units with the finalizer of MurmurHash3, which spreads keys that differ in one character. 32 bits. */
export function hash(text: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i += 1) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  return mix(h);
}

/** The finalizer of MurmurHash3: every bit of the input counts for every bit of the output. */
function mix(h: number): number {
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** The golden ratio of 32 bits: keeps a key's hash from cancelling out an equal one of a node. */
const GOLDEN = 0x9e3779b1;

/** A number in (0, 1) that a key and a node have together, by their hashes. */
export function place(keyHash: number, nodeHash: number): number {
  return (mix(Math.imul(keyHash, GOLDEN) ^ nodeHash) + 0.5) / 2 ** 32;
}

/** The same place in [0, 1) for the same text, in every process. */
export function fraction(text: string): number {
  return hash(text) / 2 ** 32;
}
