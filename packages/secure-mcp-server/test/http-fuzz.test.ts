import type { JsonObject } from '@mcp-blocks/core';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { callTool, ENVELOPE, startHttp, testService, token } from './support/server.js';

const NASTY_KEYS = ['__proto__', 'constructor', 'prototype', 'toString', 'hasOwnProperty', '_meta', 'method', 'id', 'params', ''];
const json = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.constantFrom(null, true, 0, -1, 1.5, 1e308, 2 ** 53, '', '2.0', '2026-07-28', 'tools/call', '__proto__', '\u0000', '\ud800'),
    fc.array(tie('value'), { maxLength: 3 }),
    fc.dictionary(fc.oneof(fc.constantFrom(...NASTY_KEYS), fc.string()), tie('value'), { maxKeys: 4 }),
  ),
})).value;

const METHODS = [
  'tools/call',
  'tools/list',
  'initialize',
  'ping',
  'server/discover',
  'subscriptions/listen',
  'notifications/cancelled',
  'x',
];
const envelope = fc.record(
  {
    jsonrpc: fc.oneof(fc.constant('2.0'), json),
    id: fc.oneof(fc.nat(), json),
    method: fc.oneof(fc.constantFrom(...METHODS), json),
    params: json,
  },
  { requiredKeys: [] },
);
/** Well-formed as far as the envelope goes, so that it gets past the first checks. */
const request = fc.record({
  jsonrpc: fc.constant('2.0'),
  id: fc.nat(),
  method: fc.constantFrom(...METHODS),
  params: fc.record(
    {
      name: json,
      arguments: json,
      notifications: json,
      protocolVersion: json,
      capabilities: json,
      _meta: fc.oneof(fc.constant(ENVELOPE), json),
    },
    { requiredKeys: [] },
  ),
});

it('whatever is posted gets an answer that is not a server error, and nobody else is harmed', async () => {
  const { url, errors } = await startHttp({ service: testService().service });
  const authorization = `Bearer ${token()}`;
  const body = fc.oneof(
    fc.string(),
    json.map((value) => JSON.stringify(value) ?? ''),
    envelope.map((value) => JSON.stringify(value)),
    request.map((value) => JSON.stringify(value)),
  );
  await fc.assert(
    fc.asyncProperty(body, fc.boolean(), async (text, modern) => {
      let method = '';
      let name = '';
      try {
        const message = JSON.parse(text) as JsonObject;
        method = printable(message.method);
        name = printable((message.params as JsonObject | undefined)?.name);
      } catch {
        // Not JSON: no headers to go with it.
      }
      const response = await fetch(url, {
        method: 'POST',
        headers: {
          authorization,
          'content-type': 'application/json',
          accept: 'application/json, text/event-stream',
          ...(modern ? { 'mcp-protocol-version': '2026-07-28', 'mcp-method': method, 'mcp-name': name } : {}),
        },
        body: text,
      });
      expect([200, 202, 400, 403, 404]).toContain(response.status);
      if (response.headers.get('content-type')?.startsWith('application/json')) {
        const answer = (await response.json()) as JsonObject;
        expect(answer.jsonrpc).toBe('2.0');
        if (response.status >= 400) expect(answer.error).toMatchObject({ code: expect.any(Number), message: expect.any(String) });
      } else {
        await response.body?.cancel();
      }
    }),
    { numRuns: 300 },
  );
  expect(errors).toEqual([]);
  expect(({} as { polluted?: unknown }).polluted).toBeUndefined();
  expect((await fetch(url, callTool('echo'))).status).toBe(200);
});

function printable(value: unknown): string {
  return typeof value === 'string' && /^[!-~]*$/.test(value) ? value : '';
}
