import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { verifyAuditTrail } from '@mcp-blocks/audit-trail';

/**
 * Counts the successful tool calls in a trail, once its chain has been verified.
 *
 * @throws Error when the trail is not intact.
 */
export async function auditedCalls(path: string): Promise<number> {
  const verification = await verifyAuditTrail(path);
  if (!verification.ok) throw new Error(`its audit trail is not intact: ${verification.problem.message}`);
  let calls = 0;
  for await (const line of createInterface({ input: createReadStream(path) })) {
    if (line.includes('"type":"tool.call"') && line.includes('"outcome":"succeeded"')) calls += 1;
  }
  return calls;
}
