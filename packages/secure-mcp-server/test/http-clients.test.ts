import { readFileSync } from 'node:fs';
import { request as httpsRequest } from 'node:https';
import { connect as tlsConnect } from 'node:tls';
import { describe, expect, it } from 'vitest';
import { CLIENT_KINDS, connectHttp, jsonOf } from './support/clients.js';
import { callTool, startHttp, testService } from './support/server.js';

describe.each(CLIENT_KINDS)('an SDK client over HTTP (%s)', (kind) => {
  it('lists and calls tools as the principal of its token', async () => {
    const { url } = await startHttp({ service: testService().service });
    const client = await connectHttp(kind, url);
    expect((await client.listTools()).tools.map((tool) => tool.name)).toContain('echo');
    expect(jsonOf(await client.callTool({ name: 'whoami', arguments: {} }))).toEqual({
      id: 'alice',
      roles: ['agent'],
      transport: 'http',
      protocolVersion: kind === 'auto' ? '2026-07-28' : '2025-11-25',
      hasSession: kind !== 'auto',
    });
  });

  it('gets progress before the result', async () => {
    const { url } = await startHttp({ service: testService().service });
    const client = await connectHttp(kind, url);
    const seen: number[] = [];
    const options = { onprogress: ({ progress }: { progress: number }) => seen.push(progress) };
    // The v1 client takes a result schema before the options.
    const more = (kind === 'v1' ? [undefined, options] : [options]) as [typeof options];
    expect(jsonOf(await client.callTool({ name: 'progress' }, ...more))).toBe('progressed');
    expect(seen).toEqual([1]);
  });

  it('hears that a list has changed', async () => {
    const { service, events } = testService();
    const { url } = await startHttp({ service });
    let heard: () => void = () => {};
    const changed = new Promise<void>((resolve) => (heard = resolve));
    const client = await connectHttp(kind, url);
    client.setNotificationHandler(...(notificationHandler(kind, heard) as Parameters<typeof client.setNotificationHandler>));
    if (kind === 'auto') {
      await client.listen({ toolsListChanged: true });
      events.publish({ kind: 'tools_list_changed' });
      await changed;
      return;
    }
    // The GET stream opens after connect: until it is there, events wait in the replay buffer or are sent again.
    const again = setInterval(() => events.publish({ kind: 'tools_list_changed' }), 5);
    await changed;
    clearInterval(again);
  });

  it('is not served a call it may not make, and goes on', async () => {
    const { url } = await startHttp({ service: testService().service });
    const client = await connectHttp(kind, url);
    const failure = await client.callTool({ name: 'limited' }).catch((error: unknown) => error);
    if (kind === 'auto') {
      // The status speaks for itself; the SDK's client leaves the JSON-RPC error in the text.
      expect(failure).toMatchObject({ status: 429 });
      expect(String((failure as Error).message)).toContain('"retryAfterMs":1500');
    } else {
      expect(failure).toMatchObject({ code: 429, data: { retryAfterMs: 1500, reason: 'rate_limited' } });
    }
    expect(jsonOf(await client.callTool({ name: 'echo', arguments: { on: 1 } }))).toEqual({ on: 1 });
  });

  it('does not hear the details of an unexpected failure', async () => {
    const { url } = await startHttp({ service: testService().service });
    const client = await connectHttp(kind, url);
    await expect(client.callTool({ name: 'bug' })).rejects.toMatchObject({ code: -32603, message: expect.not.stringContaining('secret') });
  });
});

function notificationHandler(kind: string, heard: () => void): unknown[] {
  // The v1 client takes a schema, of which it reads the method.
  return kind === 'v1' ? [v1Schema, heard] : ['notifications/tools/list_changed', heard];
}

const { ToolListChangedNotificationSchema: v1Schema } = await import('@modelcontextprotocol/sdk/types.js');

describe.each(['v1', 'legacy'] as const)('a legacy client over HTTP (%s)', (kind) => {
  it('is asked for input in the middle of a call, and the deadline waits for the answer', async () => {
    const { url } = await startHttp({ service: testService().service, limits: { requestTimeoutMs: 200 } });
    const client = await connectHttp(kind, url);
    const { ElicitRequestSchema } = await import('@modelcontextprotocol/sdk/types.js');
    const answer = async () => {
      await new Promise((resolve) => setTimeout(resolve, 300));
      return { action: 'accept', content: { name: 'Ada' } };
    };
    client.setRequestHandler(
      ...((kind === 'v1' ? [ElicitRequestSchema, answer] : ['elicitation/create', answer]) as unknown as Parameters<
        typeof client.setRequestHandler
      >),
    );
    const result = await client.callTool({
      name: 'ask',
      arguments: { message: 'Your name?', requestedSchema: { type: 'object', properties: { name: { type: 'string' } } } },
    });
    expect(jsonOf(result)).toEqual({ action: 'accept', content: { name: 'Ada' } });
  });
});

describe('HTTPS', () => {
  const fixture = (name: string) => readFileSync(new URL(`./fixtures/${name}`, import.meta.url));
  const tls = { cert: fixture('test-only-server.pem'), key: fixture('test-only-server.key') };

  it.each(CLIENT_KINDS)('serves an SDK client that trusts the certificate (%s)', async (kind) => {
    const { url } = await startHttp({ service: testService().service, http: { tls } });
    expect(url.protocol).toBe('https:');
    const client = await connectHttp(kind, url, { fetch: trusting(tls.cert) });
    expect(jsonOf(await client.callTool({ name: 'echo', arguments: { over: 'tls' } }))).toEqual({ over: 'tls' });
  });

  it('is not spoken to by those who do not trust the certificate', async () => {
    const { url } = await startHttp({ service: testService().service, http: { tls } });
    await expect(fetch(url, callTool('echo'))).rejects.toThrow();
  });

  it.each([
    { minVersion: undefined, offered: 'TLSv1.1', accepted: false },
    { minVersion: undefined, offered: 'TLSv1.2', accepted: true },
    { minVersion: 'TLSv1.3', offered: 'TLSv1.2', accepted: false },
    { minVersion: 'TLSv1.3', offered: 'TLSv1.3', accepted: true },
  ] as const)('with minVersion $minVersion, $offered is accepted: $accepted', async ({ minVersion, offered, accepted }) => {
    const { url } = await startHttp({ service: testService().service, http: { tls: { ...tls, ...(minVersion ? { minVersion } : {}) } } });
    const version = await new Promise<string | null>((resolve) => {
      const socket = tlsConnect(
        {
          host: url.hostname,
          port: Number(url.port),
          ca: tls.cert,
          minVersion: offered,
          maxVersion: offered,
          ciphers: 'DEFAULT@SECLEVEL=0',
        },
        () => {
          resolve(socket.getProtocol());
          socket.destroy();
        },
      );
      socket.on('error', () => resolve(null));
    });
    expect(version).toBe(accepted ? offered : null);
  });
});

/** As much of `fetch` as the SDK's clients use, over `node:https` with a certificate of one's own. */
function trusting(ca: Buffer): typeof fetch {
  return async (input, init) => {
    const headers = Object.fromEntries(new Headers(init?.headers).entries());
    return new Promise<Response>((resolve, reject) => {
      const request = httpsRequest(
        String(input),
        { method: init?.method ?? 'GET', headers, ca, agent: false, ...(init?.signal ? { signal: init.signal } : {}) },
        (response) => {
          const body = new ReadableStream({
            start(controller) {
              response.on('data', (chunk: Buffer) => controller.enqueue(new Uint8Array(chunk)));
              response.on('end', () => controller.close());
              response.on('error', (error) => controller.error(error));
            },
            cancel: () => void response.destroy(),
          });
          const status = response.statusCode ?? 500;
          resolve(
            new Response(status === 202 || status === 204 ? null : body, { status, headers: response.headers as Record<string, string> }),
          );
        },
      );
      request.on('error', reject);
      request.end(init?.body as string | undefined);
    });
  };
}
