/** Control characters but tab and line ends, and what changes the direction of text or breaks lines in Unicode. */
const UNSEEN = /[^\P{Cc}\t\n\r]|[\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu;

/**
 * Text that a caller may have chosen, for a terminal or a spreadsheet: what would move the cursor, give orders or
 * hide text is written out, `\u001b`. JSON text stays equal, since there it can only be within strings.
 */
export function visibleText(text: string): string {
  return text.replace(UNSEEN, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
