import type { JsonObject } from '@mcp-blocks/core';
import { RpcError } from '@mcp-blocks/core';
import { testContext } from '@mcp-blocks/core/testing';
import { describe, expect, it } from 'vitest';
import type { ResourceReturn } from '../src/index.js';
import { as, refusal, setUp } from './fixtures.js';

describe('reading', () => {
  it.each<[string, ResourceReturn, JsonObject[]]>([
    ['text', 'hello', [{ uri: 'x://r', mimeType: 'text/plain', text: 'hello' }]],
    ['empty text', '', [{ uri: 'x://r', mimeType: 'text/plain', text: '' }]],
    ['bytes', { blob: new Uint8Array([0, 255, 16]) }, [{ uri: 'x://r', mimeType: 'text/plain', blob: 'AP8Q' }]],
    ['bytes that are base64 already', { blob: 'AP8Q', mimeType: 'image/png' }, [{ uri: 'x://r', mimeType: 'image/png', blob: 'AP8Q' }]],
    [
      'several pieces',
      [{ text: 'a' }, { uri: 'x://r/b', text: 'b', _meta: { n: 1 } }],
      [
        { uri: 'x://r', mimeType: 'text/plain', text: 'a' },
        { uri: 'x://r/b', mimeType: 'text/plain', text: 'b', _meta: { n: 1 } },
      ],
    ],
    ['an empty folder', [], []],
  ])('gives %s', async (_name, returned, contents) => {
    const { registry, ask } = setUp();
    registry.resource('x://r', { name: 'r', mimeType: 'text/plain' }, () => returned);
    expect(await ask('resources/read', { uri: 'x://r' })).toEqual({ contents, ttlMs: 0, cacheScope: 'private' });
  });

  it('gives large bytes unharmed', async () => {
    const { registry, ask } = setUp();
    const bytes = Uint8Array.from({ length: 100_003 }, (_byte, i) => (i * 31) % 256);
    registry.resource('x://r', { name: 'r' }, () => ({ blob: bytes }));
    const [piece] = (await ask('resources/read', { uri: 'x://r' })).contents as { blob: string }[];
    expect(Buffer.from(piece!.blob, 'base64').equals(Buffer.from(bytes))).toBe(true);
  });

  it('tells caches what was registered, in the modern era, and never to keep the end of a dialogue', async () => {
    const { registry, ask } = setUp();
    const cacheHint = { ttlMs: 5_000, cacheScope: 'public' } as const;
    registry.resource('x://r', { name: 'r', cacheHint, access: { allowAnonymous: true } }, () => 'text');
    expect(await ask('resources/read', { uri: 'x://r' })).toMatchObject(cacheHint);
    expect(await ask('resources/read', { uri: 'x://r', requestState: 's' })).toMatchObject({ ttlMs: 0, cacheScope: 'private' });
    expect(Object.keys(await ask('resources/read', { uri: 'x://r' }, testContext({ protocolVersion: '2025-11-25' })))).toEqual([
      'contents',
    ]);
  });

  it('may ask for input first', async () => {
    const { registry, ask } = setUp();
    registry.resource('x://r', { name: 'r' }, (_uri, { requestState }) =>
      requestState === undefined ? { resultType: 'input_required', requestState: 's' } : `text after ${requestState}`,
    );
    expect(await ask('resources/read', { uri: 'x://r' })).toEqual({ resultType: 'input_required', requestState: 's' });
    expect(await ask('resources/read', { uri: 'x://r', requestState: 's' })).toMatchObject({ contents: [{ text: 'text after s' }] });
  });

  it('of what the reader does not know is the error of an unknown resource', async () => {
    const { registry, ask } = setUp();
    registry.resourceTemplate('x://{id}', { name: 'r' }, () => undefined);
    for (const uri of ['x://7', 'y://7']) {
      const { code, message, error } = await refusal(ask('resources/read', { uri }));
      expect([code, message, error.data]).toEqual(['resource_not_found', 'Resource not found', { uri }]);
    }
  });

  it('hides why it failed, unless the reader says so', async () => {
    const { registry, ask, errors } = setUp();
    registry.resource('x://bug', { name: 'r' }, () => {
      throw new Error('/etc/shadow: permission denied');
    });
    registry.resource('x://busy', { name: 'r' }, () => Promise.reject(new RpcError('unavailable', 'Later')));
    expect(await refusal(ask('resources/read', { uri: 'x://bug' }))).toMatchObject({
      code: 'internal_error',
      message: 'Reading the resource failed',
    });
    expect(errors[0]?.message).toContain('/etc/shadow');
    expect(await refusal(ask('resources/read', { uri: 'x://busy' }))).toMatchObject({ code: 'unavailable', message: 'Later' });
  });

  it.each<[string, unknown]>([
    ['null', null],
    ['a number', 5],
    ['a piece that is no object', ['text']],
    ['a piece without body', [{ uri: 'x://r' }]],
    ['a body of another type', { text: 5 }],
  ])('fails when the reader returned %s', async (_name, returned) => {
    const { registry, ask } = setUp();
    registry.resource('x://r', { name: 'r' }, () => returned as string);
    expect((await refusal(ask('resources/read', { uri: 'x://r' }))).code).toBe('internal_error');
  });

  it.each<[string, JsonObject]>([
    ['no URI', {}],
    ['a URI that is no string', { uri: 5 }],
  ])('needs more than %s', async (_name, params) => {
    const { registry, ask } = setUp();
    registry.resource('x://r', { name: 'r' }, () => 'text');
    for (const method of ['resources/read', 'resources/subscribe', 'resources/unsubscribe']) {
      expect(await refusal(ask(method, params))).toMatchObject({ code: 'invalid_params', message: 'uri: expected a string' });
    }
  });
});

describe('a URI of several entries', () => {
  it('is read by the fixed resource, else by the template registered first', async () => {
    const { registry, ask } = setUp();
    registry.resourceTemplate('x://{+any}', { name: 'any' }, ({ any }, { uri }) => `any ${any} of ${uri}`);
    registry.resourceTemplate('x://a/{id}', { name: 'a' }, ({ id }) => `a ${id}`);
    registry.resource('x://a/1', { name: 'one' }, (uri) => `fixed ${uri}`);
    expect(await ask('resources/read', { uri: 'x://a/1' })).toMatchObject({ contents: [{ text: 'fixed x://a/1' }] });
    expect(await ask('resources/read', { uri: 'x://a/2' })).toMatchObject({ contents: [{ text: 'any a/2 of x://a/2' }] });
  });

  it('is decided by the entry that reads it, with no second try', async () => {
    const { registry, ask } = setUp();
    registry.resource('x://a', { name: 'a', access: { roles: ['admin'] } }, () => 'secret');
    registry.resourceTemplate('x://{id}', { name: 'any' }, () => 'open');
    expect((await refusal(ask('resources/read', { uri: 'x://a' }))).code).toBe('resource_not_found');
    expect(await ask('resources/read', { uri: 'x://b' })).toMatchObject({ contents: [{ text: 'open' }] });
  });
});

describe('another spelling of a URI', () => {
  function guarded() {
    const setup = setUp();
    const access = { roles: ['clerk'] };
    setup.registry.resource('x://top/secret key', { name: 'fixed', access }, () => 'fixed');
    setup.registry.resource('x://top/caf%C3%A9', { name: 'encoded', access }, () => 'encoded');
    setup.registry.resourceTemplate('x://or%64ers/{id}', { name: 'orders', access }, ({ id }) => `order ${id}`);
    setup.registry.resourceTemplate('x://{+path}', { name: 'everything' }, ({ path }) => `path ${path}`);
    return setup;
  }

  it.each([
    'x://top/secret%20key',
    'x://top/%73ecret key',
    'x://top%2Fsecret%20key',
    'x://top/café',
    'x://top/%63af%c3%a9',
    'x://orders/7',
    'x://%6Frders/7',
    'x://or%64ers%2F7',
    'x://%6Frders/100%25',
  ])('gets nobody past the rules of what goes before: %s', async (uri) => {
    const { ask, audit } = guarded();
    for (const method of ['resources/read', 'resources/subscribe']) {
      expect((await refusal(ask(method, { uri }))).code).toBe('resource_not_found');
    }
    expect(audit.events.at(-1)).toMatchObject({ type: 'resource.denied', target: uri, reason: 'unknown resource' });
  });

  it('of what nothing else answers is read', async () => {
    const { ask } = guarded();
    for (const [uri, text] of [
      ['x://a%20b', 'path a b'],
      ['x://orders/a/b', 'path orders/a/b'],
      ['x://orders', 'path orders'],
      ['x://100%25', 'path 100%'],
    ]) {
      expect(await ask('resources/read', { uri: uri as string })).toMatchObject({ contents: [{ text }] });
    }
    expect(await ask('resources/read', { uri: 'x://or%64ers/a%2Fb' }, as({ roles: ['clerk'] }))).toMatchObject({
      contents: [{ text: 'order a/b' }],
    });
  });
});

describe('subscribing', () => {
  it('needs what reading needs; unsubscribing needs nothing', async () => {
    const { registry, ask } = setUp();
    registry.resourceTemplate('x://{id}', { name: 'r', access: { roles: ['agent'] } }, () => 'text');
    expect(await ask('resources/subscribe', { uri: 'x://1' }, as({ roles: ['agent'] }))).toEqual({});
    expect((await refusal(ask('resources/subscribe', { uri: 'x://1' }))).code).toBe('resource_not_found');
    expect(await ask('resources/unsubscribe', { uri: 'x://1' })).toEqual({});
    expect(await ask('resources/unsubscribe', { uri: 'y://unknown' })).toEqual({});
  });
});

describe('the listed definition', () => {
  it('has all that was registered', async () => {
    const { registry, ask } = setUp();
    const shown = {
      name: 'r',
      title: 'R',
      description: 'd',
      mimeType: 'text/plain',
      annotations: { priority: 1 },
      icons: [{ src: 'data:,' }],
      _meta: { a: 1 },
    };
    registry.resource('x://r', { ...shown, size: 12, access: { roles: ['agent'] }, cacheHint: { ttlMs: 1 } }, () => 'x');
    registry.resourceTemplate('x://{id}', { ...shown, access: { roles: ['agent'] }, complete: { id: () => [] } }, () => 'x');
    const context = as({ roles: ['agent'] });
    expect((await ask('resources/list', {}, context)).resources).toEqual([{ uri: 'x://r', ...shown, size: 12 }]);
    expect((await ask('resources/templates/list', {}, context)).resourceTemplates).toEqual([{ uriTemplate: 'x://{id}', ...shown }]);
  });
});

describe('a registration is refused with the reason when', () => {
  const read = () => 'x';
  it.each<[string, string, object, unknown, string]>([
    ['the URI is relative', 'r', { name: 'r' }, read, 'resource'],
    ['the name is missing', 'x://r', {}, read, "resource 'x://r'.name"],
    ['there is no reader', 'x://r', { name: 'r' }, undefined, "resource 'x://r'"],
    ['the lifetime is negative', 'x://r', { name: 'r', cacheHint: { ttlMs: -1 } }, read, "resource 'x://r'.cacheHint.ttlMs"],
    [
      'the scope is unknown',
      'x://r',
      { name: 'r', cacheHint: { ttlMs: 1, cacheScope: 'all' } },
      read,
      "resource 'x://r'.cacheHint.cacheScope",
    ],
    [
      'shared caches would undo the rule',
      'x://r',
      { name: 'r', cacheHint: { ttlMs: 1, cacheScope: 'public' } },
      read,
      "resource 'x://r'.cacheHint.cacheScope",
    ],
  ])('%s', (_name, uri, definition, reader, option) => {
    const { registry } = setUp();
    expect(() => registry.resource(uri, definition as { name: string }, reader as typeof read)).toThrow(
      expect.objectContaining({ code: 'invalid_configuration', option }),
    );
  });

  it('a completer is of no variable', () => {
    const { registry } = setUp();
    expect(() => registry.resourceTemplate('x://{id}', { name: 'r', complete: { other: () => [] } }, read)).toThrow(
      expect.objectContaining({ option: "resource template 'x://{id}'.complete.other" }),
    );
  });
});
