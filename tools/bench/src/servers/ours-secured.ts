import { join } from 'node:path';
import { makeSecured } from './secured.ts';
import { TestIssuer } from './security.ts';

// Arguments: those of every server, how many tools (default ten), `websocket` for that at /ws.
const [dataFolder, tools, transport] = process.argv.slice(3) as [string, string?, string?];
const auditFile = join(dataFolder, 'audit.jsonl');
const issuer = new TestIssuer();
const webSocket = transport === 'websocket';
const { server, listener, close } = makeSecured([issuer.authenticator], { auditFile, tools: Number(tools ?? 10), webSocket });

process.once('SIGTERM', async () => {
  await server.stop();
  await close();
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
