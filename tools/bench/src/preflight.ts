import type { Way } from './echo-request.ts';
import type { Endpoint } from './http-call.ts';
import { callOnce, openSession } from './legacy-session.ts';
import type { ServerAnnouncement } from './server-process.ts';

/**
 * Calls the server once as it will be called, and as callers who must be refused: what is not enforced is
 * not measured as security.
 *
 * @throws Error when a call that must succeed fails, or one that must be refused is answered.
 */
export async function preflight(endpoint: Endpoint, way: Way, { authorizations, refused = [] }: ServerAnnouncement): Promise<void> {
  const authorization = authorizations?.[0];
  const sessionId = way === 'session' ? await openSession(endpoint, authorization) : undefined;
  const problem = await callOnce(endpoint, way, { authorization, sessionId });
  if (problem !== undefined) throw new Error(`it does not answer the call: ${problem}`);
  for (const other of refused) {
    if (await answered(endpoint, way, other ?? undefined)) {
      throw new Error(`it answers the call ${other === null ? 'without credentials' : 'of a caller who has no right to it'}`);
    }
  }
}

async function answered(endpoint: Endpoint, way: Way, authorization: string | undefined): Promise<boolean> {
  if (way !== 'session') return (await callOnce(endpoint, way, { authorization })) === undefined;
  // Whoever may not even open a session is refused too.
  const sessionId = await openSession(endpoint, authorization).catch(() => undefined);
  return sessionId !== undefined && (await callOnce(endpoint, way, { authorization, sessionId })) === undefined;
}
