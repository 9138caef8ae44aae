import { AuthenticatedToolRegistry } from '@mcp-blocks/authenticated-tool-registry';
import { RateLimitedRPC } from '@mcp-blocks/rate-limited-rpc';
import { clusterLimits } from '@mcp-blocks/rate-limited-rpc/cluster';
import { http, jwt, SecureMCPServer } from '@mcp-blocks/secure-mcp-server';
import type { WorkerModule } from '@mcp-blocks/secure-mcp-server/workers';
import { SqliteStateStore } from '@mcp-blocks/shared-state/sqlite';
import { z } from 'zod';

/** Makes the server of one worker. */
const makeServer: WorkerModule = () => {
  const registry = new AuthenticatedToolRegistry({ name: 'primes', version: '1.0.0' });
  const input = z.object({ below: z.int().min(2).max(10_000_000) });
  registry.tool('count_primes', { description: 'Counts primes.', input, access: { roles: ['member'] } }, ({ below }) => ({
    content: [{ type: 'text', text: `${countPrimes(below)} (process ${process.pid})` }],
  }));

  const limiter = new RateLimitedRPC({ limits: [{ by: 'principal', requests: 100, windowMs: 60_000 }], store: clusterLimits() });
  const store = new SqliteStateStore({ path: process.env.SESSIONS_FILE ?? 'sessions.sqlite' });
  const server = new SecureMCPServer({
    service: registry,
    authenticators: [
      jwt({ key: process.env.JWT_SECRET ?? '', algorithms: ['HS256'], issuer: 'https://login.example', audience: 'primes' }),
    ],
    middleware: [limiter.middleware],
    listeners: [http({ port: Number(process.env.PORT ?? 8080), sessions: { store } })],
  });
  const close = async () => {
    await limiter.close();
    await store.close();
  };
  return { server, close };
};

export default makeServer;

function countPrimes(below: number): number {
  const composite = new Uint8Array(below);
  let count = 0;
  for (let candidate = 2; candidate < below; candidate += 1) {
    if (composite[candidate] === 1) continue;
    count += 1;
    for (let multiple = candidate * candidate; multiple < below; multiple += candidate) composite[multiple] = 1;
  }
  return count;
}
