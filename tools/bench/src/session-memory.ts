import type { Endpoint } from './http-call.ts';
import { callOnce, openSession } from './legacy-session.ts';
import type { MemoryInUse } from './memory-probe.ts';

/** What one idle legacy session takes. */
export interface SessionMemory {
  readonly heapBytes: number;
  readonly residentBytes: number;
}

/** The server as far as it is needed here. */
export interface MeasuredServer {
  memory(): Promise<MemoryInUse>;
}

interface Opener {
  readonly endpoint: Endpoint;
  readonly authorization: string | undefined;
}

const WARM_UP_SESSIONS = 50;
const AT_A_TIME = 10;

/**
 * Opens `count` legacy sessions, each initialized and used for one call, and divides what the server has
 * grown by. The connections are closed: only what the server keeps counts. `undefined` when the server gives
 * out no session ids, so has no sessions.
 *
 * @throws Error when a session cannot be opened, or when the first, the middle or the last one is no longer there
 * after the measurement: what has been dropped takes no memory.
 */
export async function measureSessions(
  endpoint: Endpoint,
  server: MeasuredServer,
  count: number,
  authorization?: string,
): Promise<SessionMemory | undefined> {
  const opener = { endpoint, authorization };
  const warmUp = await openSessions(opener, WARM_UP_SESSIONS);
  if (warmUp === undefined) return undefined;
  const before = await server.memory();
  const sessions = (await openSessions(opener, count)) ?? [];
  const after = await server.memory();
  for (const index of new Set([0, count >> 1, count - 1])) await callIn(opener, sessions[index] as string);
  return {
    heapBytes: (after.heapBytes - before.heapBytes) / count,
    residentBytes: (after.residentBytes - before.residentBytes) / count,
  };
}

async function openSessions(opener: Opener, count: number): Promise<string[] | undefined> {
  const ids: string[] = [];
  while (ids.length < count) {
    const opened = await Promise.all(Array.from({ length: Math.min(AT_A_TIME, count - ids.length) }, () => openUsedSession(opener)));
    for (const id of opened) {
      if (id === undefined) return undefined;
      ids.push(id);
    }
  }
  return ids;
}

async function openUsedSession(opener: Opener): Promise<string | undefined> {
  const id = await openSession(opener.endpoint, opener.authorization);
  if (id !== undefined) await callIn(opener, id);
  return id;
}

async function callIn({ endpoint, authorization }: Opener, sessionId: string): Promise<void> {
  const problem = await callOnce(endpoint, 'session', { authorization, sessionId });
  if (problem !== undefined) throw new Error(`a call in a session: ${problem}`);
}
