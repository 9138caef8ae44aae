import { WorkerPool } from '@mcp-blocks/secure-mcp-server/workers';
import { TestIssuer } from './security.ts';

// The fully secured server on several workers; arguments: those of every server, and how many workers.
const [folder, count] = process.argv.slice(3) as [string, string];
const issuer = new TestIssuer();
const pool = new WorkerPool({
  module: new URL('./secured-worker.ts', import.meta.url),
  count: Number(count),
  environment: { BENCH_FOLDER: folder, BENCH_KEY: issuer.publicKey },
  status: { port: 0, metrics: {} },
  onError: (error) => {
    console.error(error.message);
    process.exit(1);
  },
});
process.once('SIGTERM', () => void pool.close().then(() => process.exit()));
await pool.start();
console.log(
  JSON.stringify({
    port: Number(new URL(pool.endpoints[0] as string).port),
    authorizations: issuer.callers('agent'),
    refused: [null, issuer.bearer('visitor', 'visitor'), issuer.forged()],
    statusUrl: pool.statusUrl,
  }),
);
