import { FileAuditSink } from '@mcp-blocks/audit-trail';
import type { AuthenticatedToolRegistry } from '@mcp-blocks/authenticated-tool-registry';
import { http, jwt, SecureMCPServer } from '@mcp-blocks/secure-mcp-server';
import { NodeSettings } from './node-settings.js';
import { databaseServer } from './servers/database.js';
import { fileServer } from './servers/files.js';
import { weatherServer } from './servers/weather.js';

/** One node of the cluster: a secured MCP server in a process of its own, which accepts tokens of the gateway only. */
const settings = NodeSettings.parse(JSON.parse(process.env.QUICKSTART_NODE ?? 'null'));
const audit = new FileAuditSink({ path: settings.auditFile });

function registry(): AuthenticatedToolRegistry {
  switch (settings.service) {
    case 'weather':
      return weatherServer({ apiUrl: settings.weatherApiUrl, audit });
    case 'database':
      return databaseServer({ file: settings.databaseFile, audit });
    case 'files':
      return fileServer({ root: settings.filesFolder, audit });
  }
}

const listener = http({ port: 0 });
const server = new SecureMCPServer({
  service: registry(),
  authenticators: [jwt({ key: settings.publicKey, algorithms: ['ES256'], issuer: settings.issuer, audience: settings.audience })],
  listeners: [listener],
  audit,
});

let stopping = false;
async function stop(): Promise<void> {
  if (stopping) return;
  stopping = true;
  await server.drain(2_000);
  await server.stop();
  await audit.close();
  process.exit(0);
}

await server.start();
// It may be gone already, and then no 'disconnect' comes.
if (process.send !== undefined && !process.connected) await stop();
process.on('SIGTERM', () => void stop());
// The process that started this one is gone: nobody will route to this node any more.
process.on('disconnect', () => void stop());
process.send?.({ url: listener.endpoint });
