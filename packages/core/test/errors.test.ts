import { describe, expect, it } from 'vitest';
import { fromWireError, isRpcError, RpcError, type RpcErrorCode, toWireError } from '../src/index.js';

const CODES: readonly RpcErrorCode[] = [
  'parse_error',
  'invalid_request',
  'method_not_found',
  'invalid_params',
  'internal_error',
  'header_mismatch',
  'missing_client_capability',
  'unsupported_protocol_version',
  'resource_not_found',
  'unauthenticated',
  'forbidden',
  'insufficient_scope',
  'rate_limited',
  'payload_too_large',
  'timeout',
  'cancelled',
  'unavailable',
  'ambiguous_outcome',
  'upstream_error',
];

describe('the wire mapping', () => {
  it('never uses a code that MCP 2026-07-28 reserves for itself', () => {
    const own = new Set(['header_mismatch', 'missing_client_capability', 'unsupported_protocol_version']);
    for (const code of CODES) {
      const number = toWireError(new RpcError(code, 'x')).code;
      if (!own.has(code)) expect(number >= -32099 && number <= -32000, `${code} is ${number}`).toBe(false);
    }
  });

  it.each(CODES.filter((code) => code !== 'resource_not_found'))('brings %s back from the wire', (code) => {
    const { code: number, message, data } = toWireError(new RpcError(code, 'Why', { data: { a: 1 } }));
    expect(fromWireError({ code: number, message, data })).toMatchObject({ code, message: 'Why', data: { a: 1 } });
  });

  it('tells nothing of an unexpected failure', () => {
    expect(toWireError(new Error('password=hunter2'))).toEqual({ code: -32603, message: 'Internal error', httpStatus: 200, headers: {} });
    expect(toWireError('text')).toMatchObject({ code: -32603, message: 'Internal error' });
  });

  it('never sends the cause or the reason for the audit', () => {
    const error = new RpcError('forbidden', 'No', { cause: new Error('secret'), auditReason: 'secret' });
    expect(JSON.stringify(toWireError(error))).not.toContain('secret');
  });

  it('keeps a forwarded number', () => {
    expect(toWireError(fromWireError({ code: -31999, message: 'odd', data: 'text' }))).toMatchObject({ code: -31999, message: 'odd' });
  });
});

it('recognises an RpcError of another copy of the package by its brand', () => {
  const foreign = Object.assign(new Error('x'), { code: 'forbidden', [Symbol.for('mcp-blocks.RpcError')]: true });
  expect(isRpcError(foreign)).toBe(true);
  expect(toWireError(foreign)).toMatchObject({ code: 403 });
  expect(isRpcError(new Error('x'))).toBe(false);
});
