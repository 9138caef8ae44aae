import { UriTemplate } from '@modelcontextprotocol/client';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { mayMatch } from '../src/gateway/template-match.js';

it.each([
  ['db://orders/{id}', 'db://orders/7', true],
  ['db://orders/{id}', 'db://orders/7/items', false],
  ['db://orders/{id}', 'db://order/7', false],
  ['db://{table}/{id}', 'db://orders/7', true],
  ['db://{table}/{id}/rows', 'db://orders/rows', false],
  ['file:///{+path}', 'file:///a/b/c', true],
  ['{+any}/{name}', 'a/b/c', true],
  ['fixed:uri', 'fixed:uri', true],
  ['fixed:uri', 'fixed:uri2', false],
  ['aa{x}aa', 'aaa', false],
  ['{unclosed', '{unclosed', true],
])('%s may match %s: %s', (template, uri, expected) => {
  expect(mayMatch(template, uri)).toBe(expected);
});

it('never denies what the template matches', () => {
  const literal = fc.stringMatching(/^[a-c/:]{0,4}$/);
  const expression = fc.constantFrom('{x}', '{+x}', '{#x}', '{/x}', '{.x}', '{x*}', '{?x}');
  fc.assert(
    fc.property(
      fc.array(fc.tuple(literal, expression), { maxLength: 3 }),
      literal,
      fc.stringMatching(/^[a-c/:]{0,12}$/),
      (parts, end, uri) => {
        const template = `s:${parts.flat().join('')}${end}`;
        const matches = new UriTemplate(template).match(`s:${uri}`) !== null;
        expect(matches && !mayMatch(template, `s:${uri}`)).toBe(false);
      },
    ),
  );
});
