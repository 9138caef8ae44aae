import { readFile } from 'node:fs/promises';
import { testPrincipal } from '@mcp-blocks/core/testing';
import { afterAll, describe, expect, it } from 'vitest';
import { CedarDecisionPoint } from '../../src/cedar/index.js';
import type { DecisionPoint, DecisionRequest } from '../../src/index.js';
import { OpaDecisionPoint } from '../../src/opa/index.js';
import { OpaWasmDecisionPoint } from '../../src/opa-wasm/index.js';
import { setUp } from '../fixtures.js';
import { type DecisionPointHarness, decisionPointContract, REGO } from './contract.js';
import { type OpaReply, startOpaServer } from './opa-server.js';
import { policyModule } from './policy-module.js';

const { MCP_BLOCKS_OPA_URL, MCP_BLOCKS_OPA_WASM } = process.env;
const signal = new AbortController().signal;
const asking = (overrides: Partial<DecisionRequest> = {}): DecisionRequest => ({
  principal: testPrincipal({ roles: ['admin'] }),
  action: 'call',
  entry: { kind: 'tool', key: 'pay' },
  environment: { time: 0, transport: 'http' },
  ...overrides,
});

const CEDAR = `
permit(principal, action, resource);
forbid(principal == User::"mallory", action, resource);
forbid(principal, action, resource == Prompt::"secret");
forbid(principal, action, resource) when { context has arguments && context.arguments has amount && context.arguments.amount == 101 };
forbid(principal, action, resource == Tool::"broken") when { context.absent == 1 };
`;

const opaPolicy = (input: { principal: { id: string }; entry: { key: string }; arguments?: { amount?: unknown } }): OpaReply => {
  if (input.entry.key === 'broken') return { status: 500, body: '{"code":"internal_error","message":"eval_conflict_error"}' };
  if (input.entry.key === 'undefined') return { body: '{}' };
  const allow = input.principal.id !== 'mallory' && input.entry.key !== 'secret' && input.arguments?.amount !== 101;
  return { body: JSON.stringify({ result: allow }) };
};
const standIn = await startOpaServer(opaPolicy);
afterAll(() => standIn.close());

async function realOpa(url: string): Promise<DecisionPoint> {
  const stored = await fetch(`${url}/v1/policies/mcp-blocks`, { method: 'PUT', body: REGO, headers: { 'content-type': 'text/plain' } });
  expect(stored.status).toBe(200);
  return new OpaDecisionPoint({ url, path: 'mcp/authz/allow' });
}

const drivers: [string, () => Promise<DecisionPoint>][] = [
  ['OPA over HTTP, against a stand-in', async () => new OpaDecisionPoint({ url: standIn.url, path: 'mcp/authz/allow' })],
  ['OPA-wasm, with a stand-in for the compiled policy', async () => OpaWasmDecisionPoint.load(await policyModule())],
  ['Cedar', async () => new CedarDecisionPoint({ policies: CEDAR })],
];
if (MCP_BLOCKS_OPA_URL !== undefined) drivers.push(['a real OPA server', () => realOpa(MCP_BLOCKS_OPA_URL)]);
if (MCP_BLOCKS_OPA_WASM !== undefined) {
  drivers.push(['OPA-wasm, with a policy compiled by OPA', async () => OpaWasmDecisionPoint.load(await readFile(MCP_BLOCKS_OPA_WASM))]);
}

describe.each(drivers)('%s', (_name, create) => {
  for (const { name, run } of decisionPointContract) it(name, () => run({ create }));

  it('decides for a registry', async () => {
    const { registry, ask } = setUp({ decisionPoint: await create() });
    for (const name of ['pay', 'broken']) registry.tool(name, {}, () => 'ran');
    expect((await ask('tools/list')).tools).toMatchObject([{ name: 'pay' }]);
    expect(await ask('tools/call', { name: 'pay' })).toMatchObject({ content: [{ text: 'ran' }] });
  });
});

it.each<[string, (request: DecisionRequest) => boolean]>([
  ['allows everything', () => true],
  ['allows nothing', () => false],
  [
    'looks at the beginning of the id',
    ({ principal, arguments: args, entry }) =>
      !principal.id.startsWith('mallory') && args?.amount !== 101 && !['secret', 'broken'].includes(entry.key),
  ],
  ['ignores the arguments', ({ principal, entry }) => principal.id !== 'mallory' && !['secret', 'broken'].includes(entry.key)],
  [
    'allows when evaluation fails',
    ({ principal, arguments: args, entry }) => principal.id !== 'mallory' && args?.amount !== 101 && entry.key !== 'secret',
  ],
])('a driver that %s fails the contract', async (_name, allows) => {
  const harness: DecisionPointHarness = { create: async () => ({ decide: async (request) => ({ allow: allows(request) }) as never }) };
  const failed = [];
  for (const { name, run } of decisionPointContract) await run(harness).catch(() => failed.push(name));
  expect(failed.length).toBeGreaterThan(0);
});

describe('OPA over HTTP', () => {
  async function against(answer: Parameters<typeof startOpaServer>[0], options: object = {}) {
    const server = await startOpaServer(answer);
    const point = new OpaDecisionPoint({ url: `${server.url}/`, path: 'mcp/a b', ...options });
    return { point, decide: (to = signal) => point.decide(asking(), to).finally(() => server.close()) };
  }

  it('posts the input to the Data API, with the headers given', async () => {
    let seen: unknown;
    const { decide } = await against(
      (input, request) => {
        seen = [request.url, request.headers.authorization, input];
        return { body: '{"result":{"allow":false,"reason":"closed","more":1}}' };
      },
      { headers: { authorization: 'Bearer t' } },
    );
    expect(await decide()).toEqual({ allow: false, reason: 'closed' });
    expect(seen).toEqual([
      '/v1/data/mcp/a%20b',
      'Bearer t',
      {
        principal: { id: 'alice', authentication: 'test', roles: ['admin'], scopes: [] },
        action: 'call',
        entry: { kind: 'tool', key: 'pay' },
        environment: { time: 0, transport: 'http' },
      },
    ]);
  });

  it('denies where the policy has no value', async () => {
    expect(await (await against(() => ({ body: '{"decision_id":"1"}' }))).decide()).toEqual({
      allow: false,
      reason: 'the policy has no value',
    });
  });

  it.each<[string, OpaReply, RegExp]>([
    ['another status', { status: 503, body: '{"result":true}' }, /OPA answered 503/],
    ['a redirect', { status: 307, headers: { location: 'http://127.0.0.1:1/' }, body: '' }, /fetch failed/],
    ['no JSON', { body: 'true' + '}' }, /JSON/],
    ['no object', { body: 'true' }, /something else than an object/],
    ['a result of another kind', { body: '{"result":"true"}' }, /neither a boolean/],
    ['an allow of another kind', { body: '{"result":{"allow":1}}' }, /neither a boolean/],
    ['too much', { body: JSON.stringify({ result: true, more: 'x'.repeat(70_000) }) }, /more than 65536 bytes/],
  ])('fails on %s', async (_name, reply, message) => {
    await expect((await against(() => reply)).decide()).rejects.toThrow(message);
  });

  it('ends when nobody waits any more', async () => {
    const controller = new AbortController();
    const { decide } = await against(() => {
      controller.abort(new Error('enough'));
      return 'never';
    });
    await expect(decide(controller.signal)).rejects.toThrow('enough');
  });

  it.each<[string, object, string]>([
    ['no URL', { url: 'opa' }, 'url'],
    ['a URL of another scheme', { url: 'file:///x' }, 'url'],
    ['no path', { path: '' }, 'path'],
    ['a path that leads out', { path: 'a/../../policies' }, 'path'],
    ['no room', { maxResponseBytes: 0 }, 'maxResponseBytes'],
  ])('is refused at start with %s', (_name, options, option) => {
    expect(() => new OpaDecisionPoint({ url: 'http://127.0.0.1:8181', path: 'a', ...options })).toThrow(
      expect.objectContaining({ option }),
    );
  });
});

describe('OPA-wasm', () => {
  it('asks the entrypoint that is named', async () => {
    const module = await policyModule();
    const explained = await OpaWasmDecisionPoint.load(module, { entrypoint: 'mcp/authz/explained', data: { a: 1 } });
    expect(await explained.decide(asking())).toEqual({ allow: false, reason: 'closed' });
    explained.setData({ a: 2 });
    expect(await explained.decide(asking({ entry: { kind: 'tool', key: 'undefined' } }))).toEqual({
      allow: false,
      reason: 'the policy has no value',
    });
    const senseless = await OpaWasmDecisionPoint.load(module, { entrypoint: 'mcp/authz/senseless' });
    await expect(senseless.decide(asking())).rejects.toThrow(/neither a boolean/);
    await expect(OpaWasmDecisionPoint.load(module, { entrypoint: 'absent' })).rejects.toMatchObject({ option: 'entrypoint' });
  });

  it('refuses what is no policy', async () => {
    await expect(OpaWasmDecisionPoint.load(new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0]))).rejects.toMatchObject({ option: 'wasm' });
    await expect(OpaWasmDecisionPoint.load(new Uint8Array([1, 2, 3]))).rejects.toMatchObject({ option: 'wasm' });
  });
});

describe('Cedar', () => {
  const decide = (policies: string, overrides: Partial<DecisionRequest> = {}, options = {}) =>
    new CedarDecisionPoint({ policies, ...options }).decide(asking(overrides));

  it.each<[string, string, boolean]>([
    ['roles', 'permit(principal in Role::"admin", action, resource);', true],
    ['inherited roles', 'permit(principal in Role::"viewer", action, resource);', true],
    ['no role that is not held', 'permit(principal in Role::"auditor", action, resource);', false],
    ['attributes', 'permit(principal, action, resource) when { principal.attributes.region == "eu" };', true],
    ['scopes', 'permit(principal, action, resource) when { principal.scopes.contains("s") };', true],
    ['the time', 'permit(principal, action, resource) when { context.environment.time > 5 };', false],
    ['the action and the entry', 'permit(principal, action == Action::"call", resource == Tool::"pay");', true],
    ['nothing', '', false],
  ])('decides by %s', async (_name, policies, allow) => {
    const principal = testPrincipal({ roles: ['admin'], scopes: ['s'], attributes: { region: 'eu' } });
    const roles = { admin: ['analyst'], analyst: ['viewer'] };
    expect((await decide(policies, { principal }, { roles })).allow).toBe(allow);
  });

  it('tells in the reason which policy denied', async () => {
    expect(await decide('@id("p") forbid(principal, action, resource);')).toEqual({ allow: false, reason: 'by policy0' });
    expect(await decide('')).toEqual({ allow: false, reason: 'no policy permits it' });
  });

  it('fails when any policy does, which Cedar itself would skip', async () => {
    const policies = 'permit(principal, action, resource); forbid(principal, action, resource) when { context.arguments.amount > 100 };';
    expect((await decide(policies, { arguments: { amount: 5 } })).allow).toBe(true);
    expect((await decide(policies, { arguments: { amount: 500 } })).allow).toBe(false);
    await expect(decide(policies, { arguments: {} })).rejects.toThrow(/policy/);
    await expect(decide(policies, { arguments: { amount: 100.5 } })).rejects.toThrow(/policy/);
  });

  it.each([
    { amount: { __entity: { type: 'User', id: 'root' } } },
    { list: [{ __extn: { fn: 'ip', arg: '10.0.0.1' } }] },
    { __expr: 'true' },
    { list: [null] },
  ])('takes no argument for an entity or an extension value: %j', async (args) => {
    await expect(decide('permit(principal, action, resource);', { arguments: args })).rejects.toThrow(/Cedar/);
  });

  it('checks requests against a schema', async () => {
    const schema =
      'entity Role; entity User in [Role] { authentication: String, scopes: Set<String> }; entity Tool; action "call" appliesTo { principal: User, resource: Tool, context: { environment: { time: Long, transport: String } } };';
    const policies = 'permit(principal, action, resource);';
    expect((await decide(policies, {}, { schema })).allow).toBe(true);
    await expect(decide(policies, { action: 'get', entry: { kind: 'prompt', key: 'p' } }, { schema })).rejects.toThrow();
  });

  it('refuses policies and schemas it cannot parse', () => {
    expect(() => new CedarDecisionPoint({ policies: 'permit(' })).toThrow(expect.objectContaining({ option: 'policies' }));
    expect(() => new CedarDecisionPoint({ policies: '', schema: 'entity' })).toThrow(expect.objectContaining({ option: 'schema' }));
  });
});
