import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { Way } from '../src/echo-request.ts';
import { runLoad } from '../src/load.ts';

interface Seen {
  readonly body: { readonly id: number; readonly method: string; readonly params: { readonly arguments: { readonly text: string } } };
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
}

async function serve(answer: (seen: Seen) => void): Promise<{ host: string; port: number; path: string }> {
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => answer({ body: JSON.parse(Buffer.concat(chunks).toString()), request, response }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return { host: '127.0.0.1', port: (server.address() as AddressInfo).port, path: '/mcp' };
}

const load = (endpoint: { host: string; port: number; path: string }, way: Way = 'modern', authorizations: readonly string[] = []) =>
  runLoad({ ...endpoint, way, authorizations, connections: 2, warmUpMs: 0, durationMs: 200 });

function right({ body, response }: Seen): void {
  response.setHeader('content-type', 'application/json');
  response.end(JSON.stringify({ jsonrpc: '2.0', id: body.id, result: { content: [{ type: 'text', text: body.params.arguments.text }] } }));
}

function answerWith(response: ServerResponse, { id, text }: { readonly id: number; readonly text: string }): void {
  // No Date, which would make answers look different each second.
  response.sendDate = false;
  response.setHeader('content-type', 'application/json');
  response.end(JSON.stringify({ jsonrpc: '2.0', id, result: { content: [{ type: 'text', text }] } }));
}

it('counts right answers, each to a request of its own', async () => {
  const ids = new Set<number>();
  const endpoint = await serve((seen) => {
    ids.add(seen.body.id);
    right(seen);
  });
  const result = await load(endpoint);
  expect(result).toMatchObject({ failures: 0, reasons: [], sent: ids.size });
  expect(result.answers).toBeGreaterThan(0);
  expect(result.requestsPerSecond).toBe(result.answers / 0.2);
  expect(result.p99Ms).toBeGreaterThanOrEqual(result.p50Ms);
});

it('goes on with a new connection when the server closes one after an answer', async () => {
  const endpoint = await serve((seen) => {
    seen.response.setHeader('connection', 'close');
    right(seen);
  });
  const result = await load(endpoint);
  expect(result.failures).toBe(0);
  expect(result.sent).toBeGreaterThan(2);
});

it('shares the callers out among the connections', async () => {
  const seen = new Set<string | undefined>();
  const endpoint = await serve((call) => {
    seen.add(call.request.headers.authorization);
    right(call);
  });
  await load(endpoint, 'modern', ['Bearer a', 'Bearer b']);
  expect(seen).toEqual(new Set(['Bearer a', 'Bearer b']));
});

it('opens a session per connection and calls in it', async () => {
  const sessions = new Set<string>();
  const outside: string[] = [];
  const endpoint = await serve((seen) => {
    const id = seen.request.headers['mcp-session-id'];
    if (seen.body.method === 'initialize') {
      sessions.add(`s${sessions.size}`);
      seen.response.setHeader('mcp-session-id', `s${sessions.size - 1}`);
      seen.response.end('{}');
    } else if (seen.body.method === 'notifications/initialized') {
      seen.response.writeHead(202).end();
    } else {
      if (typeof id !== 'string' || !sessions.has(id)) outside.push(String(id));
      right(seen);
    }
  });
  expect((await load(endpoint, 'session')).failures).toBe(0);
  expect(sessions.size).toBe(2);
  expect(outside).toEqual([]);
});

it('asks at a fixed rate, whatever the server does, and counts the time that requests wait to be sent', async () => {
  // One at a time, each 10 ms late: half of the rate.
  let queue = Promise.resolve();
  const endpoint = await serve((seen) => {
    queue = queue.then(() => new Promise((resolve) => setTimeout(resolve, 10))).then(() => right(seen));
  });
  const job = { ...endpoint, way: 'modern' as const, authorizations: [], connections: 2, warmUpMs: 0, durationMs: 200 };
  const result = await runLoad({ ...job, ratePerSecond: 200 });
  expect(result).toMatchObject({ failures: 0, sent: 40, answers: 40 });
  // The last was due after 195 ms and cannot have been answered before 400 ms; asked and answered it was within 30.
  expect(result.p99Ms).toBeGreaterThan(150);
});

it('ends after the requests it was told to send', async () => {
  const result = await runLoad({
    ...(await serve(right)),
    way: 'modern',
    authorizations: [],
    connections: 2,
    warmUpMs: 0,
    durationMs: 60_000,
    requests: 20,
  });
  expect(result.failures).toBe(0);
  expect(result.sent).toBe(20);
});

describe('a server that does not do what is measured', () => {
  it.each<[string, (seen: Seen) => void, string]>([
    ['answers 200 with nothing', ({ response }) => void response.end(), 'an empty body'],
    ['is overloaded', ({ response }) => void response.writeHead(503).end('later'), 'HTTP 503: later'],
    [
      'answers from a cache',
      (seen) => right({ ...seen, body: { ...seen.body, params: { arguments: { text: 'cached' } } } }),
      'without the echoed text',
    ],
    [
      'answers with a JSON-RPC error',
      ({ body, response }) => void response.end(`{"id":${body.id},"error":{"code":1,"message":"no"}}`),
      'error 1: no',
    ],
    ['cuts the connection', ({ response }) => void response.destroy(), 'the connection'],
  ])('fails when it %s', async (_, answer, reason) => {
    const result = await load(await serve(answer));
    expect(result.answers).toBe(0);
    expect(result.failures).toBe(result.sent);
    expect(result.reasons.join()).toContain(reason);
  });

  it('fails when it answers only some', async () => {
    let count = 0;
    const result = await load(await serve((seen) => ((count += 1) === 3 ? void seen.response.end() : right(seen))));
    expect(result.failures).toBe(1);
  });

  it.each<[string, (seen: Seen, before: number) => void]>([
    ['an earlier answer', ({ response }, before) => answerWith(response, { id: before, text: `message ${before} of the benchmark` })],
    [
      'the text of an earlier one',
      ({ body, response }, before) => answerWith(response, { id: body.id, text: `message ${before} of the benchmark` }),
    ],
    [
      'its id, and another text as long',
      ({ body, response }) => answerWith(response, { id: body.id, text: `message ${body.id} of the BENCHMARK` }),
    ],
  ])('fails when, after right answers that look the same, it gives %s', async (_, answer) => {
    let count = 0;
    let before = 0;
    const endpoint = await serve((seen) => {
      count += 1;
      if (count % 10 === 0) answer(seen, before);
      else answerWith(seen.response, { id: seen.body.id, text: seen.body.params.arguments.text });
      before = seen.body.id;
    });
    const result = await load(endpoint);
    expect(result.failures).toBe(Math.floor(count / 10));
    expect(result.sent).toBe(count);
  });

  it('fails when nobody listens', async () => {
    const result = await load({ host: '127.0.0.1', port: 1, path: '/mcp' });
    expect(result.failures).toBeGreaterThan(0);
    expect(result.reasons.join()).toContain('ECONNREFUSED');
  });
});
