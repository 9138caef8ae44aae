import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { UriTemplate } from '../src/index.js';

describe('matching', () => {
  it.each<[string, string, Record<string, string> | undefined]>([
    ['db://orders/{id}', 'db://orders/7', { id: '7' }],
    ['db://orders/{id}', 'db://orders/', undefined],
    ['db://orders/{id}', 'db://orders/7/lines', undefined],
    ['db://orders/{id}', 'db://orders/7?x=1', undefined],
    ['db://orders/{id}', 'db://orders/7#top', undefined],
    ['db://orders/{id}', 'DB://orders/7', undefined],
    ['db://orders/{id}', 'xdb://orders/7', undefined],
    ['db://orders/{id}', 'db://orders/a%20b', { id: 'a b' }],
    ['db://orders/{id}', 'db://orders/a%2Fb', { id: 'a/b' }],
    ['db://orders/{id}', 'db://orders/%', undefined],
    ['db://orders/{id}', 'db://orders/%ff', undefined],
    ['test://template/{id}/data', 'test://template/123/data', { id: '123' }],
    ['test://template/{id}/data', 'test://template//data', undefined],
    ['test://template/{id}/data', 'test://template/data', undefined],
    ['x://{a}-{b}', 'x://1-2-3', { a: '1', b: '2-3' }],
    ['x://{a}-{b}', 'x://-1-2', { a: '-1', b: '2' }],
    ['x://{a}.json', 'x://r.json.json', { a: 'r.json' }],
    ['file:///{+path}', 'file:///a/b.txt', { path: 'a/b.txt' }],
    ['file:///{+path}', 'file:///a%20b/c', { path: 'a b/c' }],
    ['x://{+path}/meta/{id}', 'x://a/b/meta/7', { path: 'a/b', id: '7' }],
    ['x://{a}', 'x://{a}', { a: '{a}' }],
    ['x://a.c/{id}', 'x://abc/1', undefined],
    ['file:///{+path}', 'file:///../etc/passwd', undefined],
    ['file:///{+path}', 'file:///a/../../etc/passwd', undefined],
    ['file:///{+path}', 'file:///a/..', undefined],
    ['file:///{+path}', 'file:///a/%2e%2e/b', undefined],
    ['file:///{+path}', 'file:///a%2f..%2fb', undefined],
    ['file:///{+path}', 'file:///a\\..\\b', undefined],
    ['file:///{+path}', 'file:///a%00.txt', undefined],
    ['file:///{+path}', 'file:///a..b/c', { path: 'a..b/c' }],
    ['file:///{name}', 'file:///..%2f..%2fetc%2fpasswd', undefined],
    ['file:///{name}', 'file:///..', undefined],
  ])('%s reads %s', (template, uri, expected) => {
    expect(new UriTemplate(template).match(uri)).toEqual(expected);
  });

  it('reads back what was percent-encoded', () => {
    const template = new UriTemplate('x://{a}/of/{b}');
    const value = fc
      .string({ minLength: 1, unit: 'grapheme' })
      .filter((text) => !text.includes('\0') && !text.split(/[/\\]/).includes('..'));
    fc.assert(
      fc.property(value, value, (a, b) => {
        expect(template.match(`x://${encodeURIComponent(a)}/of/${encodeURIComponent(b)}`)).toEqual({ a, b });
      }),
    );
  });

  it('never throws, and never yields a way up', () => {
    const piece = fc.constantFrom('..', '/', '\\', '%2e', '%2f', '%5c', '%', 'a', '\0', '-', '%00', '__proto__');
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
        const found = new UriTemplate('x://{+a}-{b}').match(`x://${pieces.join('')}`);
        for (const value of Object.values(found ?? {})) expect(value).not.toMatch(/(^|[/\\])\.\.($|[/\\])|\0/);
      }),
    );
  });

  it('of a hostile URI takes time linear in its length', () => {
    const template = new UriTemplate('x://{a}-{b}-{c}-{d}-{e}!');
    const startedAt = performance.now();
    for (let i = 0; i < 20; i += 1) expect(template.match(`x://${'-'.repeat(200_000)}`)).toBeUndefined();
    // A backtracking matcher would need about 200 000^5 steps.
    expect(performance.now() - startedAt).toBeLessThan(5_000);
  });
});

describe('a template is refused when it', () => {
  it.each([
    ['has no scheme', 'orders/{id}'],
    ['has no expression', 'db://orders'],
    ['is of level 3', 'db://orders{?id}'],
    ['has several names in one expression', 'db://{a,b}'],
    ['has a modifier', 'db://{a*}'],
    ['has an empty expression', 'db://{}'],
    ['is not closed', 'db://{a'],
    ['is not opened', 'db://a}'],
    ['is closed twice', 'db://{a}}'],
    ['is opened twice', 'db://{{a}'],
    ['closes before it opens', 'db://}a{'],
    ['names a variable twice', 'db://{a}/{a}'],
    ['has nothing between two expressions', 'db://{a}{b}'],
  ])('%s', (_name, template) => {
    expect(() => new UriTemplate(template)).toThrow(expect.objectContaining({ code: 'invalid_configuration', option: 'uriTemplate' }));
  });
});
