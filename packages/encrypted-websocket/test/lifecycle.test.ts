import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { ManualClock } from '@mcp-blocks/core/testing';
import { describe, expect, it } from 'vitest';
import { CLOSE_CODES, encryptedWebSocket } from '../src/index.js';
import {
  certificates,
  cleanup,
  connectV2,
  deferred,
  listening,
  modernRequest,
  openRaw,
  testHost,
  toolService,
  until,
  upgrade,
} from './support.js';

const bearer = { authorization: 'Bearer alice-token' };

describe('drain', () => {
  it('answers what was in progress, refuses what is new, and says goodbye with 1001', async () => {
    const clock = new ManualClock();
    const tools = toolService();
    const host = testHost({ service: tools.service });
    const { url, listener } = await listening(host, { clock });
    const idle = await openRaw(url);
    const busy = await openRaw(url);
    busy.socket.send(modernRequest(1, 'tools/call', { name: 'hold' }));
    await tools.started;
    const drained = listener.drain(60_000);
    expect(await idle.closed).toBe(CLOSE_CODES.goingAway);
    expect((await upgrade(url, bearer)).status).toBe(503);
    busy.socket.send(modernRequest(2, 'tools/call', { name: 'echo' }));
    expect(await busy.next()).toMatchObject({ id: 2, error: { code: 503 } });
    expect(tools.calls).toEqual(['hold']);
    tools.release();
    expect(await busy.next()).toMatchObject({ id: 1, result: { content: [{ text: 'released' }] } });
    expect(await busy.closed).toBe(CLOSE_CODES.goingAway);
    await drained;
    expect(host.active.count).toBe(0);
    expect(clock.pendingTimers).toBe(0);
  });

  it('ends subscriptions with their result', async () => {
    const { url, listener } = await listening();
    const { client } = await connectV2(url);
    const subscription = await client.listen({ toolsListChanged: true });
    await listener.drain(60_000);
    expect(await subscription.closed).toBe('graceful');
  });

  it('closes with 4503 what is not done by the deadline', async () => {
    const clock = new ManualClock();
    const tools = toolService();
    const host = testHost({ service: tools.service });
    const { url, listener } = await listening(host, { clock });
    const { socket, closed } = await openRaw(url);
    socket.send(modernRequest(1, 'tools/call', { name: 'hold' }));
    await tools.started;
    const drained = listener.drain(5_000);
    await clock.advance(5_000);
    await drained;
    expect(await closed).toBe(CLOSE_CODES.drainDeadline);
    await tools.aborted;
    await until(() => host.active.count === 0);
    expect(clock.pendingTimers).toBe(0);
  });

  it('may be called twice, before listening and after closing', async () => {
    const unused = encryptedWebSocket();
    await unused.drain(1_000);
    await unused.close();
    const { listener } = await listening();
    await Promise.all([listener.drain(1_000), listener.drain(1_000)]);
    await listener.close();
    await listener.drain(1_000);
    await listener.close();
  });
});

describe('close', () => {
  it.each(['ws', 'wss'])('leaves no socket, timer or port of %s behind', async (scheme) => {
    const clock = new ManualClock();
    const tools = toolService();
    const host = testHost({ service: tools.service });
    const { url, listener } = await listening(host, { clock, ...(scheme === 'wss' ? { tls: certificates.server } : {}) });
    const { client, transport } = await connectV2(url, 'auto', { clock, tls: { ca: certificates.ca } });
    const call = client.callTool({ name: 'hold' }).catch((error: unknown) => error);
    await tools.started;
    await listener.close();
    await tools.aborted;
    expect(await call).toBeInstanceOf(Error);
    expect(transport.closeCode).toBe(CLOSE_CODES.abnormal);
    expect(host.active.count).toBe(0);
    expect(clock.pendingTimers).toBe(0);
    await expect(upgrade(url)).rejects.toMatchObject({ code: 'ECONNREFUSED' });
    await expect(listener.listen(host)).rejects.toMatchObject({ code: 'internal_error' });
  });
});

it('reports a port that is taken', async () => {
  const { url } = await listening();
  const second = encryptedWebSocket({ port: Number(new URL(url).port) });
  await expect(second.listen(testHost())).rejects.toMatchObject({ code: 'EADDRINUSE' });
  await second.close();
});

it('counts connections, messages and bytes', async () => {
  const { url, listener } = await listening();
  const { socket, next } = await openRaw(url);
  const text = modernRequest(1, 'tools/list');
  socket.send(text);
  const answer = await next();
  expect(listener.metrics()).toEqual({
    activeConnections: 1,
    totalConnections: 1,
    refusedHandshakes: 0,
    messagesIn: 1,
    messagesOut: 1,
    bytesIn: text.length,
    bytesOut: JSON.stringify(answer).length,
    encryptMs: 0,
    decryptMs: 0,
    encryptErrors: 0,
    decryptErrors: 0,
    keyRotations: 0,
  });
});

describe("on another HTTP server's port", () => {
  async function attached(options: Parameters<typeof encryptedWebSocket>[0] = {}) {
    const listener = encryptedWebSocket(options);
    const host = testHost();
    listener.attach(host);
    const server = createServer((_request, response) => response.end('page'));
    server.on('upgrade', (request, socket, head) => listener.handleUpgrade(request, socket, head));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    cleanup(async () => {
      await listener.close();
      await new Promise((resolve) => server.close(resolve));
    });
    const url = `ws://127.0.0.1:${(server.address() as AddressInfo).port}${listener.path}`;
    return { listener, host, server, url };
  }

  it('serves beside HTTP, and leaves the port open when it closes', async () => {
    const { listener, server, url } = await attached({ path: '/socket' });
    expect(listener.endpoint).toBe('/socket');
    const { client } = await connectV2(url);
    expect((await client.listTools()).tools).toHaveLength(1);
    expect(await (await fetch(url.replace('ws:', 'http:'))).text()).toBe('page');
    await listener.close();
    expect(server.listening).toBe(true);
    expect((await upgrade(url, bearer)).status).toBe(503);
  });

  it('leaves Host and Origin to the server, unless told what to accept', async () => {
    const { url } = await attached();
    expect((await upgrade(url, { ...bearer, origin: 'https://app.example' })).status).toBe(101);
    const strict = await attached({ allowedOrigins: ['app.example'] });
    expect((await upgrade(strict.url, { ...bearer, origin: 'https://app.example' })).status).toBe(101);
    expect((await upgrade(strict.url, { ...bearer, origin: 'https://evil.example' })).status).toBe(403);
  });

  it.each([
    ['port', { port: 1 }],
    ['host', { host: '127.0.0.1' }],
    ['tls', { tls: certificates.server }],
    ['allowInsecure', { allowInsecure: true as const }],
  ])('refuses the option %s, which belongs to a port of its own', (option, options) => {
    expect(() => encryptedWebSocket(options).attach(testHost())).toThrow(
      expect.objectContaining({ code: 'invalid_configuration', option }),
    );
  });

  it('answers 503 before it has been attached', async () => {
    const listener = encryptedWebSocket();
    const server = createServer();
    server.on('upgrade', (request, socket, head) => listener.handleUpgrade(request, socket, head));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    cleanup(() => new Promise((resolve) => server.close(resolve)));
    expect((await upgrade(`ws://127.0.0.1:${(server.address() as AddressInfo).port}/ws`, bearer)).status).toBe(503);
  });
});

it('keeps every other connection working while one is abused', async () => {
  const { url } = await listening();
  const { client } = await connectV2(url);
  const done = deferred();
  const abuse = (async () => {
    for (let round = 0; round < 20; round += 1) {
      const { socket, closed } = await openRaw(url, 'bob-token');
      socket.send(round % 2 === 0 ? Buffer.from([0]) : 'x'.repeat(70_000));
      await closed;
    }
    done.resolve();
  })();
  const results = await Promise.all(Array.from({ length: 50 }, (_, n) => client.callTool({ name: 'echo', arguments: { n } })));
  await abuse;
  await done.promise;
  expect(results).toHaveLength(50);
});
