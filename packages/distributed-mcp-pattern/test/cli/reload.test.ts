import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { type JsonObject, systemClock } from '@mcp-blocks/core';
import { ManualClock, testPrincipal } from '@mcp-blocks/core/testing';
import { McpServer } from '@modelcontextprotocol/server';
import { jwtVerify, SignJWT } from 'jose';
import { expect, it, onTestFinished } from 'vitest';
import { z } from 'zod';
import { readConfigFile } from '../../src/cli/config/config-file.js';
import { DeployedGateway } from '../../src/cli/deployed-gateway.js';
import { InUse } from '../../src/cli/in-use.js';
import { Log } from '../../src/cli/log.js';
import { keepFixedOptions } from '../../src/cli/restart-options.js';
import { upstreamCredentials } from '../../src/cli/upstream-credentials.js';
import { startHttpNode } from '../http-node.js';
import { folder } from './gateway-process.js';

/** A configuration as the file would give it. */
function read(config: JsonObject) {
  const path = join(folder(), 'gateway.json');
  writeFileSync(path, JSON.stringify(config));
  return readConfigFile(path, {}).file;
}

function quietLog() {
  const lines: string[] = [];
  const clock = new ManualClock();
  return { lines, clock, log: new Log({ write: (line) => lines.push(line), format: 'json', clock }) };
}

async function start(config: JsonObject) {
  const gateway = await DeployedGateway.make({ file: read(config), log: quietLog().log, clock: systemClock });
  onTestFinished(() => gateway.close());
  await gateway.start();
  const url = gateway.endpoints[0] as string;
  const call = async (headers: Record<string, string> = {}) => {
    const meta = {
      'io.modelcontextprotocol/protocolVersion': '2026-07-28',
      'io.modelcontextprotocol/clientInfo': { name: 'test', version: '1' },
      'io.modelcontextprotocol/clientCapabilities': {},
    };
    const response = await fetch(url, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        accept: 'application/json, text/event-stream',
        'mcp-protocol-version': '2026-07-28',
        'mcp-method': 'tools/call',
        'mcp-name': 'draw',
        ...headers,
      },
      body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'draw', arguments: {}, _meta: meta } }),
    });
    return { status: response.status, challenge: response.headers.get('www-authenticate'), body: await response.text() };
  };
  return { gateway, url, call };
}

async function startNode() {
  const node = await startHttpNode(() => {
    const server = new McpServer({ name: 'art', version: '1' });
    server.registerTool('draw', { inputSchema: z.object({}) }, async () => ({ content: [{ type: 'text', text: 'drawn' }] }));
    return server;
  });
  onTestFinished(() => node.kill());
  return { art: { urls: [node.url], healthCheckConfig: { enabled: false } } };
}

it("exchanges the keys of an OAuth resource server's tokens, and keeps its metadata", async () => {
  const [before, after] = ['b'.repeat(32), 'a'.repeat(32)];
  const resource = 'https://mcp.example/mcp';
  const config = (key: string, more: JsonObject = {}): JsonObject => ({
    listen: { port: 0 },
    listTimeoutMs: 60_000,
    authentication: {
      oauth: {
        resource,
        authorizationServers: ['https://login.example'],
        jwt: { issuer: 'https://login.example', audience: resource, algorithms: ['HS256'], key },
        ...more,
      },
    },
    services,
  });
  const services = await startNode();
  const { gateway, url, call } = await start(config(before));
  const bearer = async (key: string) => ({
    authorization: `Bearer ${await new SignJWT({})
      .setProtectedHeader({ alg: 'HS256' })
      .setIssuer('https://login.example')
      .setAudience(resource)
      .setSubject('ada')
      .setExpirationTime('1h')
      .sign(Buffer.from(key))}`,
  });
  expect(await call(await bearer(before))).toMatchObject({ status: 200, body: expect.stringContaining('drawn') });
  expect(await call()).toMatchObject({ status: 401, challenge: expect.stringContaining('resource_metadata=') });

  const { ignored } = await gateway.reload(read(config(after, { requiredScopes: ['draw'] })));
  expect(ignored).toEqual(['authentication.oauth.requiredScopes']);
  expect(await call(await bearer(before))).toMatchObject({ status: 401 });
  expect(await call(await bearer(after)), 'the scopes of before').toMatchObject({ status: 200 });
  const metadata = await fetch(new URL('/.well-known/oauth-protected-resource', url));
  expect(await metadata.json()).toMatchObject({ resource });

  const wrong = config(after);
  Object.assign((wrong.authentication as { oauth: { jwt: JsonObject } }).oauth.jwt, { audience: 'somebody else' });
  await expect(gateway.reload(read(wrong))).rejects.toThrow(
    `authentication.oauth: expected '${resource}' among the audiences of its tokens`,
  );
  expect(await call(await bearer(after))).toMatchObject({ status: 200 });
});

it('lets anonymous callers in exactly while the configuration does', async () => {
  const services = await startNode();
  const config = (authentication: JsonObject): JsonObject => ({ listen: { port: 0 }, listTimeoutMs: 60_000, authentication, services });
  const { gateway, call } = await start(config({ allowAnonymous: true }));
  const apiKeys = [{ id: 'ada', key: 'the-key-of-ada' }];
  expect(await call()).toMatchObject({ status: 200 });
  expect(await call({ 'x-api-key': 'the-key-of-ada' }), 'wrong credentials are no anonymity').toMatchObject({ status: 401 });
  await gateway.reload(read(config({ apiKeys })));
  expect(await call()).toMatchObject({ status: 401, challenge: 'Bearer realm="mcp"' });
  expect(await call({ 'x-api-key': 'the-key-of-ada' })).toMatchObject({ status: 200 });
  await gateway.reload(read(config({ apiKeys, allowAnonymous: true })));
  expect(await call()).toMatchObject({ status: 200 });
});

it('counts on through a reload that leaves the limits as they are, and anew through one that does not', async () => {
  const services = await startNode();
  const config = (requests: number, more: JsonObject = {}): JsonObject => ({
    listen: { port: 0 },
    listTimeoutMs: 60_000,
    authentication: { allowAnonymous: true },
    services,
    ...(requests === 0 ? {} : { rateLimits: { limits: [{ by: 'ip', requests, windowMs: 3_600_000 }] } }),
    ...more,
  });
  const { gateway, call } = await start(config(1));
  expect((await call()).status).toBe(200);
  expect((await call()).status).toBe(429);
  expect(await gateway.reload(read(config(1, { listTtlMs: 5 })))).toEqual({ added: [], removed: [], changed: [], ignored: [] });
  expect((await call()).status).toBe(429);
  await gateway.reload(read(config(2)));
  expect([(await call()).status, (await call()).status, (await call()).status]).toEqual([200, 200, 429]);
  await gateway.reload(read(config(0)));
  expect((await call()).status).toBe(200);
});

it('names what needs a restart, and goes on with the old values', () => {
  const base = { listen: { port: 1, tls: { certFile: '/c', keyFile: '/k' } }, authentication: { allowAnonymous: true }, services: {} };
  const current = read({ ...base, audit: { path: '/trail' } });
  const next = read({ ...base, name: 'other', listen: { port: 2, webSocket: {} }, collision: 'prefix', drainDeadlineMs: 5 });
  const { file, ignored } = keepFixedOptions(current, next);
  expect(ignored).toEqual(['name', 'listen.port', 'listen.tls', 'listen.webSocket', 'audit']);
  expect(file).toEqual({ ...current, collision: 'prefix', drainDeadlineMs: 5 });
  expect(keepFixedOptions(current, read({ ...base, audit: { path: '/trail' } })).ignored).toEqual([]);
});

it('names each caller to the authorization server in a JWT that the gateway signs', async () => {
  const subjects: string[] = [];
  const server = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += String(chunk);
    subjects.push(new URLSearchParams(body).get('subject_token') as string);
    response.setHeader('content-type', 'application/json').end(JSON.stringify({ access_token: 'exchanged', token_type: 'Bearer' }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
  const tokenUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}/token`;
  const key = 'k'.repeat(32);
  const clock = new ManualClock();
  const subject = { key, algorithm: 'HS256' as const, keyId: 'k1', issuer: 'https://gateway.example', lifetimeSeconds: 30 };
  const credentials = upstreamCredentials(
    'c',
    { tokenExchange: { tokenUrl, clientId: 'g', clientSecret: 's', audience: 'orders', subject } },
    clock,
  );
  const node = { id: 'n', url: 'http://127.0.0.1:1/' };
  const ada = testPrincipal({ id: 'ada', issuer: 'https://login.example' });
  expect(await credentials(node, ada, { refused: false })).toMatchObject({ headers: { authorization: 'Bearer exchanged' } });
  const currentDate = new Date(clock.now());
  const { payload, protectedHeader } = await jwtVerify(subjects[0] as string, Buffer.from(key), { audience: tokenUrl, currentDate });
  expect(protectedHeader).toEqual({ alg: 'HS256', typ: 'JWT', kid: 'k1' });
  expect(payload).toMatchObject({ iss: 'https://gateway.example', sub: 'ada', idp: 'https://login.example' });
  expect((payload.exp as number) - (payload.iat as number)).toBe(30);

  for (const [wrong, message] of [
    [{ key: 'short' }, 'c.tokenExchange.subject.key: expected at least 32 bytes for HS256'],
    [{ algorithm: 'ES256' as const }, 'c.tokenExchange.subject.key: expected a private key in PEM for ES256'],
    [{ lifetimeSeconds: 0 }, 'c.tokenExchange.subject.lifetimeSeconds: expected 1 to 3600, got 0'],
  ] as const) {
    const options = { tokenExchange: { tokenUrl, clientId: 'g', clientSecret: 's', subject: { ...subject, ...wrong } } };
    expect(() => upstreamCredentials('c', options, clock)).toThrow(message);
  }
});

it('closes what is in use when its last call has ended, and at once when told to', async () => {
  const closed: string[] = [];
  const make = (name: string) => new InUse(name, async () => void closed.push(name));
  const [used, idle, cut] = [make('used'), make('idle'), make('cut')];
  const call = Promise.withResolvers<void>();
  const calls = [used, cut].map((part) => part.run(() => call.promise));
  const retiring = [used, idle, cut].map((part) => part.retire());
  await retiring[1];
  expect(closed).toEqual(['idle']);
  await cut.close();
  expect(closed).toEqual(['idle', 'cut']);
  call.resolve();
  await Promise.all([...calls, ...retiring]);
  expect(closed).toEqual(['idle', 'cut', 'used']);
});

it('says what repeats once a minute, and nothing that is secret or commands a terminal', async () => {
  const { lines, log, clock } = quietLog();
  log.redact = (text) => text.replaceAll('secret', '***');
  for (let n = 0; n < 3; n += 1) log.repeated('a node fails', { node: 'a' }, { error: 'secret', deep: [{ text: 'a secret' }] });
  log.repeated('a node fails', { node: 'b' });
  await clock.advance(60_000);
  log.repeated('a node fails', { node: 'a' });
  expect(lines.map((line) => JSON.parse(line) as JsonObject)).toMatchObject([
    { level: 'warn', message: 'a node fails', node: 'a', error: '***', deep: [{ text: 'a ***' }] },
    { node: 'b' },
    { node: 'a', repeated: 2 },
  ]);
  const plain = new Log({ write: (line) => lines.push(line), format: 'plain', clock });
  plain.error('it said', { text: 'red \u001b[31m \u009b31m', port: 1 });
  expect(lines.at(-1)).toMatch(/^\S+Z error it said text="red \\u001b\[31m \?31m" port=1\n$/);
});
