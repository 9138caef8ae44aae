import assert from 'node:assert/strict';
import type { ContractCase } from '@mcp-blocks/core/testing';
import { testPrincipal } from '@mcp-blocks/core/testing';
import type { DecisionPoint, DecisionRequest } from '../../src/index.js';

/**
 * A decision point over the policy of the contract: everybody but the user `mallory` may use everything
 * but the entry `secret`, with arguments whose `amount` is not 101. The entry `broken` makes evaluation fail.
 */
export interface DecisionPointHarness {
  create(): Promise<DecisionPoint>;
}

/** The policy of the contract for Open Policy Agent. */
export const REGO = `package mcp.authz
import rego.v1
default allow := false
allow if {
  input.principal.id != "mallory"
  input.entry.key != "secret"
  input.entry.key != "broken"
  not over
}
over if input.arguments.amount == 101
`;

const never = new AbortController().signal;
const request = (overrides: Partial<DecisionRequest> = {}, id = 'alice'): DecisionRequest => ({
  principal: testPrincipal({ id, roles: ['clerk'], scopes: ['s'], attributes: { region: 'eu', level: 3, score: 1.5, none: null } }),
  action: 'call',
  entry: { kind: 'tool', key: 'pay' },
  environment: { time: 1_700_000_000_000, transport: 'http', remoteAddress: '10.0.0.7' },
  ...overrides,
});

/** What every decision point promises. */
export const decisionPointContract: readonly ContractCase<DecisionPointHarness>[] = [
  contractCase('allows what the policy allows, of every kind, with and without arguments', async (allows) => {
    assert.equal(await allows(request()), true);
    assert.equal(await allows(request({ arguments: { amount: 5, note: 'x', list: ['a', 1], nested: { a: 1.25 }, nothing: null } })), true);
    assert.equal(await allows(request({ action: 'read', entry: { kind: 'resource', key: 'x://a?b="c"' } })), true);
    assert.equal(
      await allows(request({ action: 'read', entry: { kind: 'resource template', key: 'x://{a}' }, arguments: { a: 'ü' } })),
      true,
    );
    assert.equal(await allows(request({ action: 'get', entry: { kind: 'prompt', key: 'ask' }, arguments: {} })), true);
  }),
  contractCase('decides by the principal', async (allows) => {
    assert.equal(await allows(request({}, 'mallory')), false);
    assert.equal(await allows(request({}, 'mallory2')), true);
  }),
  contractCase('decides by the entry', async (allows) => {
    assert.equal(await allows(request({ action: 'get', entry: { kind: 'prompt', key: 'secret' } })), false);
  }),
  contractCase('decides by the arguments', async (allows) => {
    assert.equal(await allows(request({ arguments: { amount: 101 } })), false);
    assert.equal(await allows(request({ arguments: { amount: 100 } })), true);
  }),
  contractCase('never allows when evaluation fails, and goes on afterwards', async (allows) => {
    assert.equal(await allows(request({ entry: { kind: 'tool', key: 'broken' } })), false);
    assert.equal(await allows(request()), true);
  }),
  contractCase('keeps requests at once apart', async (allows) => {
    const ids = Array.from({ length: 20 }, (_x, index) => (index % 3 === 0 ? 'mallory' : `user${index}`));
    assert.deepEqual(
      await Promise.all(ids.map((id) => allows(request({}, id)))),
      ids.map((id) => id !== 'mallory'),
    );
  }),
];

function contractCase(
  name: string,
  run: (allows: (request: DecisionRequest) => Promise<boolean>) => Promise<void>,
): ContractCase<DecisionPointHarness> {
  return {
    name,
    run: async (harness) => {
      const point = await harness.create();
      await run(async (asked) => {
        const answer = await point.decide(asked, never).catch(() => ({ allow: false }));
        assert.equal(typeof answer.allow, 'boolean');
        const [batched] = (await point.decideMany?.([asked], never).catch(() => [{ allow: false }])) ?? [answer];
        assert.equal(batched?.allow, answer.allow);
        return answer.allow;
      });
    },
  };
}
