import { join } from 'node:path';
import type { WorkerModule } from '@mcp-blocks/secure-mcp-server/workers';
import { makeSecured } from './secured.ts';
import { tokensOf } from './security.ts';

// The server of each worker of `secured-workers.ts`.
const makeServer: WorkerModule = ({ index }) => {
  const { BENCH_FOLDER: folder, BENCH_KEY: key } = process.env as { BENCH_FOLDER: string; BENCH_KEY: string };
  const { server, close } = makeSecured([tokensOf(key)], { auditFile: join(folder, `audit-${index}.jsonl`) });
  return { server, close };
};

export default makeServer;
