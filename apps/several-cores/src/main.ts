import { serveClusterLimits } from '@mcp-blocks/rate-limited-rpc/cluster';
import { WorkerPool } from '@mcp-blocks/secure-mcp-server/workers';

serveClusterLimits(); // The limits of all workers are counted here.
const pool = new WorkerPool({
  module: new URL('./server.js', import.meta.url),
  status: { port: Number(process.env.STATUS_PORT ?? 9090), metrics: {} },
});
await pool.start();
console.log(JSON.stringify({ endpoints: pool.endpoints, status: pool.statusUrl }));

process.on('SIGHUP', () => void pool.reload().catch((error: Error) => console.error(error.message)));
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => void pool.close().then(() => process.exit()));
