import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { checkJsonRpc, JsonRpcParseError, parseJsonRpc } from '../src/index.js';

const limits = { maxJsonDepth: 8 };

function refusal(text: string): JsonRpcParseError {
  try {
    parseJsonRpc(text, limits);
  } catch (error) {
    expect(error).toBeInstanceOf(JsonRpcParseError);
    return error as JsonRpcParseError;
  }
  throw new Error(`was accepted: ${text}`);
}

describe('parseJsonRpc', () => {
  it.each([
    ['a request', { jsonrpc: '2.0', id: 1, method: 'ping' }],
    ['a request with a text id and params', { jsonrpc: '2.0', id: 'a', method: 'tools/call', params: { name: 'x', _meta: {} } }],
    ['a notification', { jsonrpc: '2.0', method: 'notifications/initialized' }],
    ['a result', { jsonrpc: '2.0', id: 1, result: {} }],
    ['an error', { jsonrpc: '2.0', id: 1, error: { code: -32600, message: 'no' } }],
  ])('accepts %s', (_what, message) => {
    expect(parseJsonRpc(JSON.stringify(message), limits)).toEqual(message);
  });

  it.each([
    ['no JSON', '{', 'parse_error', null],
    ['nothing', '', 'parse_error', null],
    ['a batch', '[{"jsonrpc":"2.0","id":1,"method":"ping"}]', 'invalid_request', null],
    ['a scalar', '42', 'invalid_request', null],
    ['null', 'null', 'invalid_request', null],
    ['another version', '{"jsonrpc":"1.0","id":7,"method":"ping"}', 'invalid_request', 7],
    ['no version', '{"id":7,"method":"ping"}', 'invalid_request', 7],
    ['a null id', '{"jsonrpc":"2.0","id":null,"method":"ping"}', 'invalid_request', null],
    ['a fractional id', '{"jsonrpc":"2.0","id":1.5,"method":"ping"}', 'invalid_request', null],
    ['an object as id', '{"jsonrpc":"2.0","id":{},"method":"ping"}', 'invalid_request', null],
    ['a method that is no text', '{"jsonrpc":"2.0","id":1,"method":5}', 'invalid_request', 1],
    ['params that are a list', '{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}', 'invalid_request', 1],
    ['_meta that is no object', '{"jsonrpc":"2.0","id":1,"method":"ping","params":{"_meta":1}}', 'invalid_request', 1],
    ['result and error', '{"jsonrpc":"2.0","id":1,"result":{},"error":{"code":1,"message":""}}', 'invalid_request', 1],
    ['neither method, result nor error', '{"jsonrpc":"2.0","id":1}', 'invalid_request', 1],
    ['a result that is no object', '{"jsonrpc":"2.0","id":1,"result":5}', 'invalid_request', 1],
    ['an error without code', '{"jsonrpc":"2.0","id":1,"error":{"message":""}}', 'invalid_request', 1],
  ])('refuses %s', (_what, text, code, id) => {
    expect(refusal(text)).toMatchObject({ code, id });
  });

  it.each([
    ['a short string', '[[[['],
    ['a long string', '[[[['.repeat(100)],
    ['a long string with escapes', '[\\"[\\\\'.repeat(100)],
    ['a long string that ends with a backslash', `${'['.repeat(100)}\\\\`],
    ['a long string with quotes after even and odd backslashes', `${'['.repeat(99)}\\\\\\"${'{'.repeat(99)}`],
  ])('does not count brackets in %s, but those after it', (_what, string) => {
    const message = (levels: number) =>
      `{"jsonrpc":"2.0","method":"m","params":{"s":"${string}","a":${'['.repeat(levels - 2)}${']'.repeat(levels - 2)}}}`;
    expect(parseJsonRpc(message(8), limits)).toMatchObject({ method: 'm' });
    expect(refusal(message(9))).toMatchObject({ message: 'The message is nested deeper than 8 levels' });
  });

  it('allows the depth it was told and no more', () => {
    const nested = (levels: number) =>
      `{"jsonrpc":"2.0","id":1,"method":"m","params":${'{"a":'.repeat(levels - 2)}{}${'}'.repeat(levels - 2)}}`;
    expect(parseJsonRpc(nested(8), limits)).toMatchObject({ method: 'm' });
    expect(refusal(nested(9))).toMatchObject({ code: 'parse_error', message: 'The message is nested deeper than 8 levels' });
  });

  it('is quick to refuse what would be slow to build', () => {
    expect(refusal('['.repeat(5_000_000))).toMatchObject({ code: 'parse_error' });
  });

  it('does not take brackets in texts for nesting', () => {
    const message = { jsonrpc: '2.0', id: 1, method: 'm', params: { text: '[[[[[[[[[[{{{{{{"\\"[[' } };
    expect(parseJsonRpc(JSON.stringify(message), limits)).toEqual(message);
  });

  it('agrees with JSON.parse on every message that is a request, and throws nothing else for any text', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.json(),
          fc.string(),
          fc.json().map((text) => `{"jsonrpc":"2.0","id":1,"method":"m","params":{"x":${text}}}`),
        ),
        (text) => {
          try {
            expect(parseJsonRpc(text, { maxJsonDepth: 1000 })).toEqual(JSON.parse(text));
          } catch (error) {
            expect(error).toBeInstanceOf(JsonRpcParseError);
          }
        },
      ),
    );
  });

  it('keeps __proto__ a plain member', () => {
    const message = parseJsonRpc('{"jsonrpc":"2.0","id":1,"method":"m","params":{"__proto__":{"polluted":true}}}', limits);
    expect(({} as { polluted?: boolean }).polluted).toBeUndefined();
    expect(Object.getPrototypeOf((message as { params: object }).params)).toBe(Object.prototype);
  });
});

it('checkJsonRpc refuses what is not JSON at all', () => {
  for (const value of [undefined, () => {}, Symbol('x'), 1n]) expect(() => checkJsonRpc(value)).toThrow(JsonRpcParseError);
});
