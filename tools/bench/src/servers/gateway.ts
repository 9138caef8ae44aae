import { join } from 'node:path';
import { auditTrail, FileAuditSink } from '@mcp-blocks/audit-trail';
import { createGateway, DistributedMCPCluster } from '@mcp-blocks/distributed-mcp-pattern';
import { RateLimitedRPC } from '@mcp-blocks/rate-limited-rpc';
import { http, SecureMCPServer, type SecureMCPServerOptions } from '@mcp-blocks/secure-mcp-server';
import { giveUp, NEVER_REACHED, TestIssuer } from './security.ts';

// Our gateway in front of one node; arguments: those of every server, the node's URL, `plain` or `loaded`.
const [dataFolder, url, kind] = process.argv.slice(3) as [string, string, string];

const cluster = new DistributedMCPCluster({
  clusterName: 'bench',
  discoveryMethod: 'static',
  discoveryConfig: { serviceName: 'node', endpoints: [url] },
  ...(kind === 'loaded'
    ? { credentials: async () => ({ headers: { authorization: 'Bearer of-the-gateway' } }) }
    : { circuitBreakerConfig: { enabled: false }, outlierDetectionConfig: { enabled: false }, healthCheckConfig: { enabled: false } }),
});
cluster.on('error', giveUp);
await cluster.start();
const service = createGateway({ info: { name: 'gateway', version: '1.0.0' }, services: { node: cluster } });
const listener = http({ port: 0 });

const issuer = new TestIssuer();
const auditFile = join(dataFolder, 'audit.jsonl');
const audit = new FileAuditSink({ path: auditFile });
const limiter = new RateLimitedRPC({
  limits: [
    { by: 'principal', requests: NEVER_REACHED, windowMs: 60_000 },
    { by: 'principal+tool', requests: NEVER_REACHED, windowMs: 60_000 },
  ],
  audit,
});
const security: Pick<SecureMCPServerOptions, 'authenticators' | 'allowAnonymous' | 'middleware' | 'audit' | 'onError'> =
  kind === 'loaded'
    ? {
        authenticators: [issuer.authenticator],
        middleware: [auditTrail({ sink: audit, required: true, onError: giveUp }), limiter.middleware],
        audit,
        onError: giveUp,
      }
    : { allowAnonymous: true };
const server = new SecureMCPServer({ service, listeners: [listener], ...security });

process.once('SIGTERM', async () => {
  await server.stop();
  await service.close();
  await cluster.close();
  await audit.close();
  process.exit();
});

await server.start();
const port = Number(new URL(listener.endpoint as string).port);
console.log(
  JSON.stringify(
    kind === 'loaded' ? { port, authorizations: issuer.callers('agent'), refused: [null, issuer.forged()], auditFile } : { port },
  ),
);
