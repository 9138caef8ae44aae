import { FileAuditSink } from '@mcp-blocks/audit-trail';
import { AuthenticatedToolRegistry } from '@mcp-blocks/authenticated-tool-registry';
import { encryptedWebSocket } from '@mcp-blocks/encrypted-websocket';
import { RateLimitedRPC } from '@mcp-blocks/rate-limited-rpc';
import { http, SecureMCPServer, type SecureMCPServerOptions } from '@mcp-blocks/secure-mcp-server';
import { z } from 'zod';
import { echoResult, echoTools } from '../echo-tools.ts';
import { giveUp, NEVER_REACHED } from './security.ts';

/** The fully secured server: a token per request, a role per tool, two limits, every call in an audit file. */
export function makeSecured(
  authenticators: Pick<SecureMCPServerOptions, 'authenticators'>['authenticators'],
  { auditFile, tools = 10, webSocket = false }: { readonly auditFile: string; readonly tools?: number; readonly webSocket?: boolean },
) {
  const audit = new FileAuditSink({ path: auditFile });
  const registry = new AuthenticatedToolRegistry({ name: 'bench', version: '1.0.0', audit, onError: giveUp });
  for (const { name, description, input } of echoTools(z, tools)) {
    registry.tool(name, { description, input, access: { roles: ['agent'] } }, (args) => echoResult(args));
  }
  const limiter = new RateLimitedRPC({
    limits: [
      { by: 'principal', requests: NEVER_REACHED, windowMs: 60_000 },
      { by: 'principal+tool', requests: NEVER_REACHED, windowMs: 60_000 },
    ],
    audit,
  });
  const listener = http({ port: 0, ...(webSocket ? { upgrades: [encryptedWebSocket()] } : {}) });
  const server = new SecureMCPServer({
    service: registry,
    ...(authenticators === undefined ? {} : { authenticators }),
    middleware: [limiter.middleware],
    listeners: [listener],
    audit,
    onError: giveUp,
  });
  return { server, listener, close: () => audit.close() };
}
