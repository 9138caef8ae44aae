import { ConfigurationError } from '@mcp-blocks/core';

/** Options of {@link plainText}. */
export interface PlainTextOptions {
  /** Longer text is cut, in UTF-16 code units as `String.length` counts and never inside a character; an integer from 0. Default: no limit. */
  readonly maxLength?: number;
  /** `true`: every kind of line break becomes `\n`. Default: `false`, it becomes a space. */
  readonly allowNewlines?: boolean;
}

const ESC = '\\u001b';
/** Of a control string (OSC, DCS, SOS, PM, APC). No controls, so that the search is linear in the text. */
const STRING_BODY = '\\P{Cc}*';
const STRING_END = `(?:\\u0007|${ESC}\\\\|\\u009c)`;
/** ECMA-48: control strings to their end; control sequences; other escape sequences. Written as text: the pattern is of control characters. */
const ESCAPE_SEQUENCES = new RegExp(
  [
    `(?:${ESC}[\\]PX^_]|[\\u0090\\u0098\\u009d-\\u009f])${STRING_BODY}${STRING_END}`,
    `(?:${ESC}\\[|\\u009b)[0-?]*[ -/]*[@-~]`,
    `${ESC}[ -/]*[0-~]`,
  ].join('|'),
  'gu',
);
const LINE_BREAKS = /\r\n|[\n\r\v\f\u0085\u2028\u2029]/g;
const NOT_LINE_FEEDS = /[^\P{Cc}\n]/gu;
/** What Unicode defines to be invisible (bidi controls, zero-width characters, tags, variation selectors, fillers), and annotation marks. */
const INVISIBLE = /[\p{Default_Ignorable_Code_Point}\uFFF9-\uFFFB]/gu;

/**
 * What a person would see of a text, for tools that pass a caller's or a document's text on to a terminal, a log,
 * a page or a model: without C0 and C1 control characters, ANSI escape sequences, bidi overrides, zero-width and
 * other invisible characters, in Unicode Normalization Form C. Tabs become spaces; lone surrogates, U+FFFD.
 * Applying it twice changes nothing more.
 *
 * It is no escaping: `<`, quotes and `$(…)` stay, and an instruction to a model in plain words does too. Joined
 * emoji come apart, and text that needs joiners (Persian, some Indic scripts) loses them.
 *
 * @throws ConfigurationError for a `maxLength` that is not an integer from 0.
 */
export function plainText(value: string, { maxLength = Number.MAX_SAFE_INTEGER, allowNewlines = false }: PlainTextOptions = {}): string {
  if (!Number.isSafeInteger(maxLength) || maxLength < 0) {
    throw new ConfigurationError('maxLength', `expected an integer from 0, got ${String(maxLength)}`);
  }
  const text = value
    // First: halves of a character must not meet when what stands between them goes.
    .toWellFormed()
    .replace(ESCAPE_SEQUENCES, '')
    .replace(LINE_BREAKS, allowNewlines ? '\n' : ' ')
    .replaceAll('\t', ' ')
    .replace(NOT_LINE_FEEDS, '')
    .replace(INVISIBLE, '')
    .normalize('NFC');
  return text.length <= maxLength ? text : cut(text, maxLength);
}

function cut(text: string, length: number): string {
  const head = text.slice(0, length);
  return head.isWellFormed() ? head : head.slice(0, -1);
}
