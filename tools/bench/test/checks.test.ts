import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FileAuditSink } from '@mcp-blocks/audit-trail';
import { describe, expect, it, onTestFinished } from 'vitest';
import { auditedCalls } from '../src/audit-check.ts';
import type { Endpoint } from '../src/http-call.ts';
import { preflight } from '../src/preflight.ts';
import { measureSessions } from '../src/session-memory.ts';

interface Message {
  readonly id?: number;
  readonly method: string;
  readonly params: { readonly arguments: { readonly text: string } };
}

/** An echo server with sessions; `admits` decides about every request. */
async function serve(admits: (request: IncomingMessage, sessions: ReadonlySet<string>) => boolean, hasSessions = true): Promise<Endpoint> {
  const sessions = new Set<string>();
  const answer = (request: IncomingMessage, { id, method, params }: Message, response: ServerResponse) => {
    if (!admits(request, sessions)) return response.writeHead(401).end();
    if (method === 'notifications/initialized') return response.writeHead(202).end();
    if (method === 'initialize' && hasSessions) {
      const session = `s${sessions.size}`;
      sessions.add(session);
      response.setHeader('mcp-session-id', session);
    }
    return response.end(JSON.stringify({ jsonrpc: '2.0', id, result: { content: [{ type: 'text', text: params.arguments?.text }] } }));
  };
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => answer(request, { params: {}, ...JSON.parse(Buffer.concat(chunks).toString()) }, response));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
  return { host: '127.0.0.1', port: (server.address() as AddressInfo).port, path: '/mcp' };
}

describe.each(['modern', 'session'] as const)('the call before the load, %s', (way) => {
  const announcement = { port: 0, authorizations: ['good'], refused: [null, 'bad'] };

  it('passes a server that refuses whom it must', async () => {
    const endpoint = await serve(({ headers }) => headers.authorization === 'good');
    await expect(preflight(endpoint, way, announcement)).resolves.toBeUndefined();
  });

  it.each<[string, (authorization: string | undefined) => boolean, string]>([
    ['lets everybody in', () => true, 'answers the call without credentials'],
    ['takes any token', (authorization) => authorization !== undefined, 'answers the call of a caller who has no right'],
    ['lets nobody in', () => false, '401'],
  ])('fails a server that %s', async (_, admits, message) => {
    const endpoint = await serve(({ headers }) => admits(headers.authorization));
    await expect(preflight(endpoint, way, announcement)).rejects.toThrow(message);
  });
});

describe('the memory of a session', () => {
  const memory = (...heaps: number[]) => ({ memory: async () => ({ heapBytes: heaps.shift() as number, residentBytes: 0 }) });

  it('is the growth divided by the sessions', async () => {
    const endpoint = await serve(() => true);
    expect(await measureSessions(endpoint, memory(1000, 4000), 30)).toEqual({ heapBytes: 100, residentBytes: 0 });
  });

  it('is unknown where there are no sessions', async () => {
    expect(await measureSessions(await serve(() => true, false), memory(1, 2), 30)).toBeUndefined();
  });

  it('is not measured on a server that has dropped sessions', async () => {
    const kept = 20;
    const endpoint = await serve(({ headers }, sessions) => {
      const id = headers['mcp-session-id'];
      return id === undefined || [...sessions].slice(-kept).includes(String(id));
    });
    await expect(measureSessions(endpoint, memory(1, 2), 60)).rejects.toThrow('a call in a session: HTTP 401');
  });
});

describe('the audit trail', () => {
  function trail(): string {
    const folder = mkdtempSync(join(tmpdir(), 'bench-test-'));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    return join(folder, 'audit.jsonl');
  }

  it('counts the calls that succeeded, and nothing else', async () => {
    const path = trail();
    const sink = new FileAuditSink({ path });
    const event = { time: 1, actor: 'a', outcome: 'succeeded' } as const;
    for (const more of [
      { type: 'tool.call' },
      { type: 'registry.changed' },
      { type: 'tool.call', outcome: 'failed' } as const,
      { type: 'tool.call' },
    ]) {
      sink.record({ ...event, ...more });
    }
    await sink.close();
    expect(await auditedCalls(path)).toBe(2);
  });

  it('must be intact', async () => {
    const path = trail();
    const sink = new FileAuditSink({ path });
    await sink.close();
    writeFileSync(path, '{"type":"tool.call","outcome":"succeeded"}\n');
    await expect(auditedCalls(path)).rejects.toThrow('not intact');
  });
});
