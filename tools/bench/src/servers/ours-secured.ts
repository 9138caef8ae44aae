import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { join } from 'node:path';
import { FileAuditSink } from '@mcp-blocks/audit-trail';
import { AuthenticatedToolRegistry } from '@mcp-blocks/authenticated-tool-registry';
import { RateLimitedRPC } from '@mcp-blocks/rate-limited-rpc';
import { http, jwt, SecureMCPServer } from '@mcp-blocks/secure-mcp-server';
import jsonwebtoken from 'jsonwebtoken';
import { z } from 'zod';
import { echoResult, echoTools } from '../echo-tools.ts';

const CALLERS = 32;
// Kept and counted for every call, but never reached: refusals are cheap and would flatter the figures.
const NEVER_REACHED = 1_000_000_000;

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

const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const issuer = 'https://issuer.example';
const audience = 'https://bench.example';

const listener = http({ port: 0 });
const server = new SecureMCPServer({
  service: registry,
  authenticators: [jwt({ key: publicKey, algorithms: ['ES256'], issuer, audience })],
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
    authorizations: Array.from({ length: CALLERS }, (_, index) => bearer(`caller-${index}`, 'agent', privateKey)),
    refused: [null, bearer('visitor', 'visitor', privateKey), bearer('caller-0', 'agent', strangersKey())],
    auditFile,
  }),
);

function bearer(subject: string, role: string, key: KeyObject): string {
  const token = jsonwebtoken.sign({ roles: [role] }, key, { algorithm: 'ES256', issuer, audience, subject, expiresIn: '1h' });
  return `Bearer ${token}`;
}

function strangersKey(): KeyObject {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
}

/** A call whose record is lost must not count as audited. */
function giveUp(error: Error): void {
  console.error(error.message);
  process.exit(1);
}
