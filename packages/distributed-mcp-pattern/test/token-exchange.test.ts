import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Principal } from '@mcp-blocks/core';
import { ManualClock, testPrincipal } from '@mcp-blocks/core/testing';
import { http, SecureMCPServer } from '@mcp-blocks/secure-mcp-server';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { afterEach, describe, expect, it } from 'vitest';
import { createGateway, DistributedMCPCluster, type TokenExchangeOptions, tokenExchange } from '../src/index.js';
import { legacyServer, modernServer } from './asking-servers.js';
import { startHttpNode } from './http-node.js';
import { startLegacyNode } from './legacy-node.js';

const open: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close();
});

const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';

/** A token endpoint that numbers its tokens. */
async function startEndpoint() {
  const endpoint = {
    url: '',
    forms: [] as URLSearchParams[],
    authorizations: [] as (string | undefined)[],
    answer: (count: number): { status?: number; body: string } => ({
      body: JSON.stringify({ access_token: `token-${count}`, token_type: 'Bearer', expires_in: 600 }),
    }),
  };
  const server = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += String(chunk);
    endpoint.forms.push(new URLSearchParams(body));
    endpoint.authorizations.push(request.headers.authorization);
    const answer = endpoint.answer(endpoint.forms.length);
    response.writeHead(answer.status ?? 200, { 'content-type': 'application/json', location: 'http://127.0.0.1:1/' }).end(answer.body);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  endpoint.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/token`;
  open.push(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  return endpoint;
}

const node = { id: 'n', url: 'https://n.test/mcp' };
const base = { clientId: 'gate way', clientSecret: 's:ecret', subjectToken: ({ id }: Principal) => ({ token: `gateway says ${id}` }) };

async function setUp(options: Partial<TokenExchangeOptions> = {}) {
  const endpoint = await startEndpoint();
  const clock = new ManualClock();
  const provider = tokenExchange({ ...base, tokenUrl: endpoint.url, audience: 'orders', scope: 'read write', clock, ...options });
  const tokenFor = async (principal: Principal | undefined, refused = false) =>
    (await provider(node, principal, { refused })).headers.authorization;
  return { endpoint, clock, provider, tokenFor };
}

const alice = testPrincipal({ id: 'alice' });

describe('tokenExchange', () => {
  it('asks as RFC 8693 says', async () => {
    const { endpoint, tokenFor } = await setUp({ resource: 'https://orders.test/' });
    expect(await tokenFor(alice)).toBe('Bearer token-1');
    expect(Object.fromEntries(endpoint.forms[0] as URLSearchParams)).toEqual({
      grant_type: EXCHANGE,
      subject_token: 'gateway says alice',
      subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
      requested_token_type: 'urn:ietf:params:oauth:token-type:access_token',
      audience: 'orders',
      resource: 'https://orders.test/',
      scope: 'read write',
    });
    expect(Buffer.from(endpoint.authorizations[0]?.slice(6) as string, 'base64').toString()).toBe('gate+way:s%3Aecret');
  });

  it("asks by the client's own credentials where there is no person", async () => {
    const { endpoint, tokenFor } = await setUp();
    await tokenFor(undefined);
    expect(Object.fromEntries(endpoint.forms[0] as URLSearchParams)).toEqual({
      grant_type: 'client_credentials',
      audience: 'orders',
      scope: 'read write',
    });
  });

  it('asks once for callers at the same time, and again shortly before the end', async () => {
    const { clock, tokenFor, endpoint } = await setUp();
    expect(await Promise.all([tokenFor(alice), tokenFor(alice)])).toEqual(['Bearer token-1', 'Bearer token-1']);
    await clock.advance(569_999);
    expect(await tokenFor(alice)).toBe('Bearer token-1');
    await clock.advance(1);
    expect(await tokenFor(alice)).toBe('Bearer token-2');
    expect(endpoint.forms).toHaveLength(2);
  });

  it('keeps people, and rights of one, apart', async () => {
    const { tokenFor } = await setUp();
    const tokens = [alice, testPrincipal({ id: 'bob' }), testPrincipal({ id: 'alice', scopes: ['admin'] }), undefined].map((who) =>
      tokenFor(who),
    );
    expect(new Set(await Promise.all(tokens)).size).toBe(4);
  });

  it('asks again for one that a node refused, once for all who were', async () => {
    const { tokenFor } = await setUp();
    await tokenFor(alice);
    expect(await Promise.all([tokenFor(alice, true), tokenFor(alice, true)])).toEqual(['Bearer token-2', 'Bearer token-2']);
  });

  it('keeps a token of unsaid life for five minutes', async () => {
    const { clock, endpoint, provider } = await setUp();
    endpoint.answer = () => ({ body: JSON.stringify({ access_token: 't', token_type: 'bearer' }) });
    expect((await provider(node, alice, { refused: false })).expiresAt).toBe(clock.now() + 270_000);
  });

  it.each([
    ['invalid_grant', { status: 400, body: '{"error":"invalid_grant","error_description":"s:ecret"}' }, 'it answered 400 invalid_grant'],
    ['no JSON', { status: 500, body: '<html>' }, 'it answered 500'],
    ['no token', { body: '{}' }, 'it gave no access_token'],
    ['a token no header can hold', { body: '{"access_token":"a\\nb","token_type":"Bearer"}' }, 'it gave no access_token'],
    ['another type of token', { body: '{"access_token":"a","token_type":"DPoP"}' }, 'not a bearer token'],
    ['too much', { body: ' '.repeat(70_000) }, 'more than 65536 bytes'],
    ['a redirect', { status: 307, body: '' }, 'token endpoint: '],
  ])('is refused, says why in the audit trail only, and may be asked again: %s', async (_what, answer, reason) => {
    const { endpoint, tokenFor } = await setUp();
    const fine = endpoint.answer;
    endpoint.answer = () => answer;
    const error = await tokenFor(alice).catch((caught: unknown) => caught);
    expect(error).toMatchObject({ code: 'upstream_error', message: 'No token for the upstream service could be had' });
    expect((error as { auditReason: string }).auditReason).toContain(reason);
    expect(JSON.stringify(error) + (error as { auditReason: string }).auditReason).not.toContain('s:ecret');
    endpoint.answer = fine;
    expect(await tokenFor(alice)).toBe('Bearer token-2');
  });

  it.each<[string, Partial<TokenExchangeOptions>]>([
    ['tokenUrl', { tokenUrl: 'http://tokens.test/' }],
    ['tokenUrl', { tokenUrl: 'none' }],
    ['clientId', { clientId: '' }],
    ['clientSecret', { clientSecret: '' }],
    ['subjectToken', { subjectToken: 'x' as never }],
    ['timeoutMs', { timeoutMs: 0 }],
  ])('checks %s', (option, wrong) => {
    expect(() => tokenExchange({ ...base, tokenUrl: 'https://tokens.test/', ...wrong })).toThrow(new RegExp(`^${option}: `));
  });
});

it.each(['modern', 'legacy'] as const)("a caller's token never reaches a %s server, or the token endpoint", async (era) => {
  const endpoint = await startEndpoint();
  const upstream = era === 'modern' ? await startHttpNode(() => modernServer()) : await startLegacyNode(() => legacyServer());
  open.push(() => upstream.kill());
  const cluster = new DistributedMCPCluster({
    clusterName: 'tokens',
    discoveryMethod: 'static',
    discoveryConfig: { serviceName: 'tokens', endpoints: [upstream.url] },
    credentials: tokenExchange({ ...base, tokenUrl: endpoint.url }),
  });
  await cluster.start();
  const gateway = createGateway({ info: { name: 'gateway', version: '1' }, services: { tokens: cluster } });
  const listener = http({ port: 0 });
  const authenticator = {
    name: 'test',
    authenticate: async (request: { header(name: string): string | undefined }) =>
      request.header('authorization') === 'Bearer of-the-caller' ? alice : undefined,
  };
  const server = new SecureMCPServer({ service: gateway, authenticators: [authenticator], listeners: [listener] });
  await server.start();
  open.push(
    () => cluster.close(),
    () => gateway.close(),
    () => server.stop(),
  );
  const client = new Client({ name: 'c', version: '1' }, { versionNegotiation: { mode: 'auto' } });
  await client.connect(
    new StreamableHTTPClientTransport(new URL(listener.endpoint as string), {
      requestInit: { headers: { authorization: 'Bearer of-the-caller' } },
    }),
  );
  open.push(() => client.close());
  await client.listen({ toolsListChanged: true });
  expect((await client.callTool({ name: 'work' })).isError).not.toBe(true);
  expect(upstream.authorizations.length).toBeGreaterThan(0);
  expect(upstream.authorizations.every((value) => /^Bearer token-\d$/.test(value ?? ''))).toBe(true);
  expect(endpoint.forms.map((form) => form.get('subject_token'))).toContain('gateway says alice');
  expect(endpoint.forms.map(String).join() + endpoint.authorizations.join()).not.toContain('of-the-caller');
});
