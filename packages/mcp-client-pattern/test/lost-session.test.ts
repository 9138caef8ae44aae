import { expect, it, vi } from 'vitest';
import type { ResourceChange } from '../src/index.js';
import { connectTo, startServer } from './real-server.js';
import { TestService } from './support.js';

it('a subscription outlives its legacy session, which the server has forgotten', { timeout: 60_000 }, async () => {
  const service = new TestService();
  const { server, httpDoor, stop } = await startServer(service);
  const fetched = vi.spyOn(globalThis, 'fetch');
  const config = { enableWebSocket: false, versionNegotiation: 'legacy', healthCheckInterval: 50 } as const;
  const client = connectTo({ http: httpDoor.port, webSocket: 1 }, config);
  const heard: ResourceChange[] = [];
  let told = Promise.withResolvers<void>();
  const next = async () => {
    await told.promise;
    told = Promise.withResolvers();
    return heard.splice(0);
  };
  try {
    await client.subscribe('test://a', (change) => {
      heard.push(change);
      told.resolve();
    });
    service.events.publish({ kind: 'resource_updated', uri: 'test://a' });
    expect(await next()).toEqual([{ uri: 'test://a', missed: false }]);
    const initialized = (await fetched.mock.results[0]?.value) as Response;
    const session = initialized.headers.get('mcp-session-id') as string;
    const url = `http://127.0.0.1:${httpDoor.port}/mcp`;
    expect((await fetch(url, { method: 'DELETE', headers: { 'mcp-session-id': session } })).ok).toBe(true);
    // The next probe is answered with 404.
    expect(await next()).toEqual([{ uri: 'test://a', missed: true }]);
    expect(client.getConnectionStatus()).toMatchObject({
      state: 'connected',
      era: 'legacy',
      lastError: expect.objectContaining({ message: 'The server has ended the session' }),
    });
    service.events.publish({ kind: 'resource_updated', uri: 'test://a' });
    expect(await next()).toEqual([{ uri: 'test://a', missed: false }]);
    expect(server.status).toBe('running');
  } finally {
    await client.close();
    await stop();
  }
  expect(service.events.listenerCount).toBe(0);
});
