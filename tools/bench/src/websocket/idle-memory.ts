import type { ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Pinning } from '../pinning.ts';
import { ServerProcess } from '../server-process.ts';
import { answerOf, serverProgram, spawnClient } from './echo-rounds.ts';
import { KINDS, type Kind } from './kinds.ts';

/** What an open connection, used once and silent since, takes of its server. */
export interface IdleRow {
  readonly kind: Kind;
  readonly connections: number;
  readonly heapBytes: number;
  readonly residentBytes: number;
}

const CLIENTS = fileURLToPath(new URL('./idle-clients.ts', import.meta.url));

/** Connections of one client process: each is a file, of which a process may have some thousands. */
const MOST_PER_PROCESS = 5000;

const WARM_UP = 100;

/** Opens `connections` to a server of each kind, ours a whole MCP server, and divides what that has grown by. */
export async function measureIdle(
  connections: number,
  pinning: Pinning,
  step: (text: string) => void,
  kinds: readonly Kind[] = KINDS,
): Promise<readonly IdleRow[]> {
  const rows: IdleRow[] = [];
  for (const kind of kinds) {
    step(`${connections} idle connections: ${kind.title}`);
    rows.push(await measureKind(kind, connections, pinning));
  }
  return rows;
}

async function measureKind(kind: Kind, connections: number, pinning: Pinning): Promise<IdleRow> {
  const server = await ServerProcess.start(serverProgram(kind, 'mcp'), 'sessions', pinning.server);
  const clients: ChildProcess[] = [];
  const open = async (count: number) => {
    const client = spawnClient([CLIENTS, kind.id, String(server.announcement.port), String(count)], pinning.generator);
    clients.push(client);
    await answerOf(client);
  };
  try {
    await open(Math.min(WARM_UP, connections));
    const before = await server.memory();
    for (let left = connections; left > 0; left -= MOST_PER_PROCESS) await open(Math.min(left, MOST_PER_PROCESS));
    const after = await server.memory();
    // A client whose connections are not all there any more has ended.
    for (const client of clients) {
      const answer = answerOf(client);
      client.send('still there?');
      await answer;
    }
    return {
      kind,
      connections,
      heapBytes: (after.heapBytes - before.heapBytes) / connections,
      residentBytes: (after.residentBytes - before.residentBytes) / connections,
    };
  } finally {
    for (const client of clients) client.kill('SIGKILL');
    await server.stop(() => undefined);
  }
}
