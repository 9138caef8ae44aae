import { existsSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { RpcService } from '@mcp-blocks/core';
import { encryptedWebSocket } from '@mcp-blocks/encrypted-websocket';
import { RateLimitedRPC } from '@mcp-blocks/rate-limited-rpc';
import { clusterLimits } from '@mcp-blocks/rate-limited-rpc/cluster';
import { SqliteStateStore } from '@mcp-blocks/shared-state/sqlite';
import { http, SecureMCPServer } from '../../src/index.js';
import type { WorkerPlace } from '../../src/workers.js';

/** Where tests put files that tell the workers something. */
const folder = process.env.WORKERS_FOLDER as string;
const told = (name: string) => existsSync(`${folder}/${name}`);

const service: RpcService = {
  info: { name: 'workers', version: '1.0.0', capabilities: { tools: {} } },
  async handler({ method, params }) {
    if (method === 'tools/list') return { tools: [] };
    // Says that it waits, and answers when the test lets it.
    if (params.name === 'wait') writeFileSync(`${folder}/waits-${process.pid}`, '');
    while (params.name === 'wait' && !told('go')) await sleep(20);
    return { content: [{ type: 'text', text: String(process.pid) }] };
  },
};

export default async ({ index, count }: WorkerPlace) => {
  if (told('broken')) throw new Error('the new version is broken');
  if (told('nested')) await import('./nested.js');
  const store = new SqliteStateStore({ path: `${folder}/sessions.sqlite` });
  const limiter = new RateLimitedRPC({
    limits: [{ by: 'tool', requests: 10, windowMs: 3_600_000, tools: ['limited'] }],
    store: clusterLimits({ timeoutMs: 60_000 }),
  });
  const server = new SecureMCPServer({
    service: { ...service, info: { ...service.info, title: `${index + 1} of ${count}` } },
    allowAnonymous: true,
    middleware: [limiter.middleware],
    listeners: [http({ port: 0, sessions: { store }, upgrades: [encryptedWebSocket()] })],
  });
  return {
    server,
    close: async () => {
      await limiter.close();
      await store.close();
    },
  };
};
