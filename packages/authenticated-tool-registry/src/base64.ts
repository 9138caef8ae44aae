/** Bytes as base64. Without `Buffer`, which only Node has. */
export function toBase64(bytes: Uint8Array): string {
  const chunks: string[] = [];
  // In pieces: `fromCharCode` takes its characters as arguments, whose number is limited.
  for (let at = 0; at < bytes.length; at += 0x2000) chunks.push(String.fromCharCode(...bytes.subarray(at, at + 0x2000)));
  return btoa(chunks.join(''));
}

/** The bytes of base64 text, or `undefined` when it is none. */
export function fromBase64(text: string): Uint8Array | undefined {
  try {
    return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  } catch {
    return undefined;
  }
}
