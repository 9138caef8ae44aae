import { join } from 'node:path';
import { FileAuditSink } from '@mcp-blocks/audit-trail';
import { AuthenticatedToolRegistry } from '@mcp-blocks/authenticated-tool-registry';
import { RateLimitedRPC } from '@mcp-blocks/rate-limited-rpc';
import { http, SecureMCPServer } from '@mcp-blocks/secure-mcp-server';
import { z } from 'zod';
import { echoResult, echoTools } from '../echo-tools.ts';
import { giveUp, NEVER_REACHED, TestIssuer } from './security.ts';

const auditFile = join(process.argv[3] as string, 'audit.jsonl');
const audit = new FileAuditSink({ path: auditFile });

const registry = new AuthenticatedToolRegistry({ name: 'bench', version: '1.0.0', audit, onError: giveUp });
for (const { name, description, input } of echoTools(z)) {
  registry.tool(name, { description, input, access: { roles: ['agent'] } }, (args) => echoResult(args));
}

const limiter = new RateLimitedRPC({
  limits: [
    { by: 'principal', requests: NEVER_REACHED, windowMs: 60_000 },
    { by: 'principal+tool', requests: NEVER_REACHED, windowMs: 60_000 },
  ],
  audit,
});

const issuer = new TestIssuer();
const listener = http({ port: 0 });
const server = new SecureMCPServer({
  service: registry,
  authenticators: [issuer.authenticator],
  middleware: [limiter.middleware],
  listeners: [listener],
  audit,
  onError: giveUp,
});

process.once('SIGTERM', async () => {
  await server.stop();
  await audit.close();
  process.exit();
});

await server.start();
console.log(
  JSON.stringify({
    port: Number(new URL(listener.endpoint as string).port),
    authorizations: issuer.callers('agent'),
    refused: [null, issuer.bearer('visitor', 'visitor'), issuer.forged()],
    auditFile,
  }),
);
