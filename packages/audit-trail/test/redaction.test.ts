import { type AuditEvent, type JsonObject, MemoryAuditSink } from '@mcp-blocks/core';
import { auditSinkContract } from '@mcp-blocks/core/testing';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type RedactionRules, redacting, redactor } from '../src/index.js';
import { event } from './trails.js';

const redactedDetails = (details: unknown, rules?: RedactionRules) => redactor(rules)(event(1, details as JsonObject)).details;

/** Every object within a value, itself included. */
function objectsIn(value: unknown): Record<string, unknown>[] {
  if (typeof value !== 'object' || value === null) return [];
  const inside = Object.values(value).flatMap(objectsIn);
  return Array.isArray(value) ? inside : [value as Record<string, unknown>, ...inside];
}

const KEYS = [
  ...['authorization', 'Authorization', 'proxy-authorization', 'password', 'PASSWORD', 'user_password', 'passwd', 'passphrase', 'secret'],
  ...['clientSecret', 'client_secret', 'token', 'access_token', 'refreshToken', 'id-token', 'apiKey', 'api_key', 'X-API-Key', 'api key'],
  ...[
    'cookie',
    'Set-Cookie',
    'privateKey',
    'aws_access_key_id',
    'credentials',
    'jwt',
    'auth',
    'otp',
    'pin',
    'connectionString',
    'requestState',
  ],
];

describe('redaction', () => {
  it('lets no secret through, at whatever object position it is planted', () => {
    fc.assert(
      fc.property(
        fc.object({ maxDepth: 5, values: [fc.string(), fc.integer(), fc.boolean(), fc.constant(null)] }),
        fc.constantFrom(...KEYS),
        fc.constantFrom<(secret: string) => unknown>(
          (secret) => secret,
          (secret) => ({ value: secret }),
          (secret) => [{ deep: [secret] }],
          (secret) => ({ [secret]: 1 }),
        ),
        fc.constantFrom<RedactionRules>({}, { mode: 'drop' }, { mode: 'hash', hashKey: 'k'.repeat(16) }),
        (details, key, shape, rules) => {
          for (const [index, position] of objectsIn(details).entries()) {
            const secret = `planted-${index}-s3cr3t`;
            const had = Object.getOwnPropertyDescriptor(position, key);
            position[key] = shape(secret);
            expect(JSON.stringify(redactedDetails(details, rules))).not.toContain('s3cr3t');
            if (had === undefined) delete position[key];
            else Object.defineProperty(position, key, had);
          }
        },
      ),
      { numRuns: 150 },
    );
  });

  it('never throws and always leaves JSON, whatever the details are', () => {
    fc.assert(
      fc.property(
        fc.anything({ withBigInt: true, withDate: true, withMap: true, withSparseArray: true, withNullPrototype: true }),
        (value) => {
          const { details } = redactor()(event(1, { value } as unknown as JsonObject));
          expect(JSON.parse(JSON.stringify(details))).toEqual(details);
        },
      ),
    );
    expect(redactedDetails({ zero: -0 })).toEqual({ zero: 0 });
    const cyclic: Record<string, unknown> = {};
    cyclic['self'] = [cyclic];
    expect(redactedDetails(cyclic)).toEqual({ self: ['[cyclic]'] });
    const hostile = Object.defineProperty({}, 'x', {
      enumerable: true,
      get: () => {
        throw new Error('no');
      },
    });
    expect(redactedDetails(hostile)).toEqual({ redaction: 'the details could not be read' });
    expect(
      redactedDetails(
        new Proxy(
          {},
          {
            ownKeys: () => {
              throw new Error('no');
            },
          },
        ),
      ),
    ).toEqual({ redaction: 'the details could not be read' });
  });

  it.each<[text: string, left: string]>([
    ['Authorization: Bearer abc.def-123', 'Authorization: Bearer [redacted]'],
    ['basic dXNlcjpwYXNz now', 'basic [redacted] now'],
    ['the key mcpk_0dXq-Kq3_7yZ0dXq-Kq3_7yZ0dXq-Kq3_7yZ0dXq-K is unknown', 'the key [redacted] is unknown'],
    ['got eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.c2ln here', 'got [redacted] here'],
    ['postgres://bob:hunter2@db/x', 'postgres://[redacted]@db/x'],
    ['https://a/b?x=1&access_token=abc&y=2', 'https://a/b?x=1&access_token=[redacted]&y=2'],
    ['https://a/cb?code=abc', 'https://a/cb?code=[redacted]'],
    ['-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY----- end', '[redacted] end'],
    ['https://a/b?zipcode=12', 'https://a/b?zipcode=12'],
    ['the bearer of bad news', 'the bearer of bad news'],
  ])('finds credentials by their look: %j', (text, left) => {
    expect(redactor()({ ...event(1, { text, list: [text] }), reason: text, target: text })).toMatchObject({
      reason: left,
      target: left,
      details: { text: left, list: [left] },
    });
  });

  it('is quick on text made to be slow', () => {
    const texts = ['eyJ-', 'eyJ.', 'bearer ', '-----BEGIN ', 'a://', '?token', 'A '].map((part) => part.repeat(500_000 / part.length));
    const start = performance.now();
    for (const text of texts) redactor()({ ...event(1, { text }), reason: text });
    expect(performance.now() - start).toBeLessThan(2_000);
  });

  it('leaves alone what is no credential', () => {
    const details = { author: 'x', tokens: 5, maxTokens: 100, keyboard: 'us', monkey: 1, opinion: 'y', spinning: true, passed: 'z' };
    expect(redactedDetails(details)).toEqual(details);
  });

  it('redacts by path, with * for one member or index', () => {
    const details = { arguments: { patient: { name: 'Ann' }, note: 'n' }, items: [{ price: 1, id: 2 }], pair: ['a', 'b'] };
    const paths = ['arguments.patient', 'items.*.price', 'pair.1'];
    expect(redactedDetails(details, { paths })).toEqual({
      arguments: { patient: '[redacted]', note: 'n' },
      items: [{ price: '[redacted]', id: 2 }],
      pair: ['a', '[redacted]'],
    });
    expect(redactedDetails(details, { paths, mode: 'drop' })).toEqual({ arguments: { note: 'n' }, items: [{ id: 2 }], pair: ['a'] });
  });

  it('hashes equal values to equal hashes, different ones under another key', () => {
    const rules = { mode: 'hash', hashKey: 'first-key-of-16-' } as const;
    const { token, other } = redactedDetails({ token: 'a', other: { token: 'a' } }, rules) as { token: string; other: JsonObject };
    expect(token).toMatch(/^hmac-sha256:[0-9a-f]{32}$/);
    expect(other).toEqual({ token });
    expect(redactedDetails({ token: 'a' }, { ...rules, hashKey: 'other-key-of-16-' })).not.toEqual({ token });
  });

  it('bounds strings, depth and members and says what is missing', () => {
    const rules = { maxStringLength: 4, maxDepth: 2, maxMembers: 2 };
    expect(redactedDetails({ a: 'abcdef', b: { c: { d: 1 }, e: [1, 2, 3] }, f: 1 }, rules)).toEqual({
      a: 'abcd… 2 more',
      b: { c: '[too deep]', e: '[too deep]' },
      '…': '1 more',
    });
    expect(redactedDetails({ a: [1, 2, 3] }, rules)).toEqual({ a: [1, 2, '… 1 more'] });
    expect(JSON.stringify(redactor()({ ...event(1), actor: 'x'.repeat(1e6) }))).toHaveLength(
      JSON.stringify(event(1)).length - 'alice'.length + 1_024 + '… 998976 more'.length,
    );
  });

  it('keeps a member called __proto__ as one', () => {
    const details = JSON.parse('{"__proto__":{"password":"s3cr3t","a":1}}') as JsonObject;
    expect(JSON.stringify(redactedDetails(details))).toBe('{"__proto__":{"password":"[redacted]","a":1}}');
  });

  it.each<[rules: RedactionRules, option: string]>([
    [{ keys: ['-'] }, 'redact.keys[0]'],
    [{ paths: ['a', ''] }, 'redact.paths[1]'],
    [{ mode: 'shred' as 'mask' }, 'redact.mode'],
    [{ mode: 'hash' }, 'redact.hashKey'],
    [{ mode: 'hash', hashKey: 'short' }, 'redact.hashKey'],
    [{ maxStringLength: 0 }, 'redact.maxStringLength'],
    [{ maxDepth: 65 }, 'redact.maxDepth'],
    [{ maxMembers: 1.5 }, 'redact.maxMembers'],
  ])('refuses the rules %j', (rules, option) => {
    expect(() => redactor(rules)).toThrow(expect.objectContaining({ name: 'ConfigurationError', option }));
  });
});

describe('a redacting sink', () => {
  for (const { name, run } of auditSinkContract) {
    it(name, () =>
      run({
        create: async () => {
          const memory = new MemoryAuditSink();
          return { sink: redacting(memory), stored: async () => memory.events };
        },
      }),
    );
  }

  it('records what is left of an event', () => {
    const memory = new MemoryAuditSink();
    const full: AuditEvent = { ...event(1, { apiKey: 'x', n: 1 }), reason: 'Bearer abcdef', durationMs: 2 };
    redacting(memory).record(full);
    expect(memory.events).toEqual([{ ...full, reason: 'Bearer [redacted]', details: { apiKey: '[redacted]', n: 1 } }]);
  });
});
