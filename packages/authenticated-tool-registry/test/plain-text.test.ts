import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { type PlainTextOptions, plainText } from '../src/index.js';
import { setUp, textOf } from './fixtures.js';

describe('plainText', () => {
  it.each<[string, string, string, PlainTextOptions?]>([
    ['keeps what can be read', 'Zoë — 東京 <b>$(x)</b>', 'Zoë — 東京 <b>$(x)</b>'],
    ['removes C0 controls', 'a\0b\u0007c\u0008d\u007fe', 'abcde'],
    ['removes C1 controls', 'a\u0080b\u008dc', 'abc'],
    ['removes colours', '\u001b[1;31mred\u001b[0m', 'red'],
    ['removes colours by the 8-bit introducer', '\u009b31mred\u009b0m', 'red'],
    ['removes private control sequences', '\u001b[?25lx\u001b[?25h', 'x'],
    ['removes a title with its text', '\u001b]0;pwned\u0007x', 'x'],
    ['removes a link with its target', '\u001b]8;;http://evil.example\u001b\\click\u001b]8;;\u001b\\', 'click'],
    ['removes a device control string', '\u001bPq#0;2\u001b\\x\u0090y\u009cz', 'xz'],
    ['removes short escape sequences', '\u001bc\u001b(Bx\u001b7', 'x'],
    ['keeps what follows a string without end', '\u001b]0;text\nmore', '0;text more'],
    ['leaves no escape of nested ones', '\u001b[\u001b[31m31mx', '31mx'],
    ['leaves no lone escape', 'x\u001b', 'x'],
    ['removes bidi overrides, embeddings, isolates and marks', 'a\u202eb\u202ac\u2066d\u2069e\u200ff\u061cg', 'abcdefg'],
    ['removes zero-width characters', 'a\u200bb\u200cc\u200dd\u2060e\ufefff', 'abcdef'],
    ['removes soft hyphens, fillers and variation selectors', 'a\u00adb\u3164c\ufe0fd\u{e0100}e', 'abcde'],
    ['removes tags, which spell invisibly', 'hi\u{e0001}\u{e0068}\u{e0069}\u{e007f}', 'hi'],
    ['removes a tag whose halves an invisible one parts', 'hi\udb40\u200b\udc68', 'hi\ufffd\ufffd'],
    ['removes annotation marks', 'a\ufff9b\ufffac\ufffb', 'abc'],
    ['composes', 'e\u0301', 'é'],
    ['composes over what it removes', 'e\u200b\u0301', 'é'],
    ['makes lone surrogates visible', 'a\ud83db', 'a\ufffdb'],
    ['makes a line break a space', 'a\r\nb\nc\rd\u0085e\u2028f\u2029g', 'a b c d e f g'],
    ['makes a tab a space', 'a\tb', 'a b'],
    ['keeps line breaks if told', 'a\r\nb\nc\rd\u0085e\u2028f\u2029g\th', 'a\nb\nc\nd\ne\nf\ng h', { allowNewlines: true }],
    ['cuts', 'abcdef', 'abc', { maxLength: 3 }],
    ['does not cut what is long only before', 'a\u200b\u200b\u200bb', 'ab', { maxLength: 2 }],
    ['does not cut through a character', 'ab😀', 'ab', { maxLength: 3 }],
    ['cuts after a character', 'ab😀c', 'ab😀', { maxLength: 4 }],
    ['cuts all', 'abc', '', { maxLength: 0 }],
  ])('%s', (_name, given, expected, options) => {
    expect(plainText(given, options)).toBe(expected);
  });

  const dangerous = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.constantFrom('\u001b', '[', ']', '31m', '\u009b', '\u0007', '\u001b\\', '\u009d', '\n', '\r', 'e', '\u0301', '\ud83d', '\ude00'),
    fc.constantFrom('\u202e', '\u2066', '\u200b', '\u{e0041}', '\udb40', '\udc41', '\ufeff', '\u1100', '\u1161'),
  );
  const text = fc.array(dangerous, { maxLength: 12 }).map((pieces) => pieces.join(''));

  it('leaves nothing invisible in any text, whatever its pieces make together', () => {
    fc.assert(
      fc.property(text, fc.boolean(), fc.nat(20), (given, allowNewlines, maxLength) => {
        const made = plainText(given, { allowNewlines, maxLength });
        expect(made.length).toBeLessThanOrEqual(maxLength);
        expect(made.isWellFormed()).toBe(true);
        expect(made.normalize('NFC')).toBe(made);
        expect(allowNewlines ? made.replaceAll('\n', '') : made).not.toMatch(/\p{Cc}|\p{Bidi_Control}|\p{Zl}|\p{Zp}/u);
        expect(made).not.toMatch(/[\u200B-\u200F\u2060-\u206F\uFEFF\u{E0000}-\u{E0FFF}]/u);
        expect(plainText(made, { allowNewlines, maxLength })).toBe(made);
      }),
      { numRuns: 2_000 },
    );
  });

  it('keeps printable ASCII to the letter', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme-ascii' }), (given) => {
        expect(plainText(given)).toBe(given);
      }),
    );
  });

  it.each([
    ['unterminated strings', '\u001b]a'],
    ['8-bit introducers', '\u009d'],
    ['sequences without end', '\u001b[1;'],
    ['parameters', `\u001b[${'1'.repeat(50)}`],
  ])('takes time in proportion to the text: %s', (_name, piece) => {
    // Quadratic, this would take minutes.
    expect(plainText(piece.repeat(Math.ceil(2_000_000 / piece.length))).includes('\u001b')).toBe(false);
  });

  it.each([-1, 1.5, Number.NaN, '3'])('refuses %j for maxLength', (maxLength) => {
    expect(() => plainText('x', { maxLength: maxLength as number })).toThrow(expect.objectContaining({ option: 'maxLength' }));
  });

  it('works in a schema', async () => {
    const { registry, ask } = setUp();
    const line = z
      .string()
      .max(100)
      .overwrite((value) => plainText(value, { maxLength: 5 }));
    registry.tool('say', { input: z.object({ line }) }, (args) => args.line);
    expect(textOf(await ask('tools/call', { name: 'say', arguments: { line: '\u001b[31mhe\u202ello there' } }))).toBe('hello');
  });
});
