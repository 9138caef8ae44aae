import { type JsonObject, type JsonValue, MemoryStateStore, type RpcContext } from '@mcp-blocks/core';
import { ManualClock } from '@mcp-blocks/core/testing';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import type { RequestStateOptions } from '../src/index.js';
import { as, refusal, setUp } from './fixtures.js';

const key = (byte: number) => new Uint8Array(32).fill(byte);
const state = { round: 1, amount: 5, list: ['ü', null] };

function stateful(options: Partial<RequestStateOptions> = {}, clock = new ManualClock()) {
  const setup = setUp({ clock, requestState: { keys: [key(1)], ...options } });
  const seen: (JsonValue | undefined)[] = [];
  const handler = (requestState: JsonValue | undefined) => {
    seen.push(requestState);
    return { resultType: 'input_required' as const, requestState: state };
  };
  for (const name of ['pay', 'other']) {
    setup.registry.tool(name, { input: z.object({ to: z.string() }) }, (_args, context) => handler(context.requestState));
    setup.registry.prompt(name, { arguments: z.object({ to: z.string() }) }, (_args, context) => handler(context.requestState));
  }
  setup.registry.resource('x://r', { name: 'r' }, (_uri, context) => handler(context.requestState));
  const call = (requestState?: string, params: JsonObject = {}, context: RpcContext = as({}), method = 'tools/call') =>
    setup.ask(
      method,
      { name: 'pay', arguments: { to: 'bob' }, ...(requestState === undefined ? {} : { requestState }), ...params },
      context,
    );
  const first = async () => (await call()).requestState as string;
  return { ...setup, clock, seen, call, first };
}

async function refused({ audit, seen }: ReturnType<typeof stateful>, attempt: Promise<unknown>) {
  const [events, handled] = [audit.events.length, seen.length];
  const { code, message, error } = await refusal(attempt);
  expect([code, message, error.data]).toEqual(['invalid_params', 'Invalid or expired requestState', { reason: 'invalid_request_state' }]);
  expect(seen).toHaveLength(handled);
  expect(audit.events.slice(events)).toMatchObject([{ type: 'request_state.refused', outcome: 'denied' }]);
  return audit.events.at(-1)?.reason;
}

describe('a sealed state', () => {
  it('comes back to the handler as the value it was, and tells the client nothing', async () => {
    const { call, first, seen } = stateful();
    const sealed = await first();
    expect(sealed).toMatch(/^[A-Za-z0-9_-]+$/);
    expect(atob(sealed.replaceAll('-', '+').replaceAll('_', '/'))).not.toContain('amount');
    await call(sealed);
    expect(seen).toEqual([undefined, state]);
    expect(await first()).not.toBe(sealed);
  });

  it.each<[string, string, JsonObject]>([
    ['prompts', 'prompts/get', {}],
    ['resources', 'resources/read', { uri: 'x://r' }],
  ])('works for %s', async (_name, method, params) => {
    const { call, seen } = stateful();
    const { requestState } = await call(undefined, params, as({}), method);
    await call(requestState as string, params, as({}), method);
    expect(seen).toEqual([undefined, state]);
  });

  it.each<[string, (s: ReturnType<typeof stateful>, sealed: string) => Promise<unknown>]>([
    ['another principal', ({ call }, sealed) => call(sealed, {}, as({ id: 'mallory' }))],
    ['the same id of another issuer', ({ call }, sealed) => call(sealed, {}, as({ issuer: 'https://other' }))],
    ['another tool', ({ call }, sealed) => call(sealed, { name: 'other' })],
    ['a prompt of the same name', ({ call }, sealed) => call(sealed, {}, as({}), 'prompts/get')],
    ['other arguments', ({ call }, sealed) => call(sealed, { arguments: { to: 'mallory' } })],
    ['no arguments', ({ call }, sealed) => call(sealed, { arguments: {} })],
  ])('is refused with %s', async (_name, attempt) => {
    const s = stateful();
    const sealed = await s.first();
    expect(await refused(s, attempt(s, sealed))).toBe('requestState: changed, or of another request');
    await s.call(sealed);
  });

  it('does not mind the order of the arguments', async () => {
    const { call, seen, ask } = stateful();
    const { requestState } = await call(undefined, { arguments: { to: 'bob', more: 1 } });
    await ask('tools/call', { name: 'pay', requestState, arguments: { more: 1, to: 'bob' } }, as({}));
    expect(seen).toHaveLength(2);
  });

  it('is refused with any bit of it changed', async () => {
    const s = stateful();
    const sealed = await s.first();
    const bytes = Uint8Array.from(atob(sealed.replaceAll('-', '+').replaceAll('_', '/')), (c) => c.charCodeAt(0));
    for (let bit = 0; bit < bytes.length * 8; bit += 1) {
      const changed = bytes.slice();
      changed[bit >> 3] = (changed[bit >> 3] as number) ^ (1 << (bit & 7));
      await refused(
        s,
        s.call(
          btoa(String.fromCharCode(...changed))
            .replaceAll('+', '-')
            .replaceAll('/', '_')
            .replaceAll('=', ''),
        ),
      );
    }
  });

  it('is refused when it is anything else', async () => {
    const s = stateful();
    const sealed = await s.first();
    for (const text of [
      '',
      'x',
      sealed.slice(0, -1),
      sealed.slice(0, 20),
      `${sealed}AA`,
      `${sealed}=`,
      'A'.repeat(2_000_000),
      '{"round":2}',
    ]) {
      await refused(s, s.call(text));
    }
    await fc.assert(
      fc.asyncProperty(fc.string(), async (text) => void (await refused(s, s.call(text)))),
      { numRuns: 50 },
    );
  });

  it('is refused after its time', async () => {
    const s = stateful({ ttlMs: 1000 });
    const sealed = await s.first();
    await s.clock.advance(999);
    await s.call(sealed);
    await s.clock.advance(1);
    expect(await refused(s, s.call(sealed))).toBe('requestState: expired');
  });

  it('outlives a change of keys for as long as the old one is there', async () => {
    const clock = new ManualClock();
    const sealed = await stateful({ keys: [key(1)] }, clock).first();
    const rotated = stateful({ keys: [key(2), key(1)] }, clock);
    await rotated.call(sealed);
    expect(rotated.seen).toEqual([state]);
    const dropped = stateful({ keys: [key(2)] }, clock);
    expect(await refused(dropped, dropped.call(sealed))).toBe('requestState: sealed with no key of ours');
    await dropped.call(await rotated.first());
  });

  it('does once where that is wanted, on whichever server', async () => {
    const clock = new ManualClock();
    const singleUse = new MemoryStateStore({ clock });
    const [one, two] = [stateful({ singleUse }, clock), stateful({ singleUse }, clock)];
    const sealed = await one.first();
    await two.call(sealed);
    expect(await refused(one, one.call(sealed))).toBe('requestState: used before');
    const again = await one.first();
    const both = await Promise.allSettled([one.call(again), two.call(again)]);
    expect(both.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    await singleUse.close();
    expect((await refusal(one.call(await one.first()))).code).toBe('internal_error');
  });
});

it('without keys, a state that is no string is the handler’s mistake', async () => {
  const { registry, ask, errors } = setUp();
  registry.tool('t', {}, () => ({ resultType: 'input_required' as const, requestState: { a: 1 } }));
  expect((await refusal(ask('tools/call', { name: 't' }))).code).toBe('internal_error');
  expect(errors[0]?.message).toMatch(/needs the option requestState/);
});

it.each<[string, object, string]>([
  ['no keys', { keys: [] }, 'requestState.keys'],
  ['a short key', { keys: [key(1), new Uint8Array(31)] }, 'requestState.keys[1]'],
  ['a key that is text', { keys: ['x'.repeat(64)] }, 'requestState.keys[0]'],
  ['no time', { ttlMs: 0 }, 'requestState.ttlMs'],
])('sealing is refused at start with %s', (_name, options, option) => {
  expect(() => stateful(options)).toThrow(expect.objectContaining({ code: 'invalid_configuration', option }));
});
