import { z } from 'zod';

/** One statement on its way to the process that runs it. */
export const SqlStatement = z.object({
  /** `read` goes over a connection that SQLite opens read-only. */
  access: z.enum(['read', 'write']),
  sql: z.string(),
  values: z.array(z.union([z.string(), z.number(), z.null()])),
});
export type SqlStatement = z.infer<typeof SqlStatement>;

/** What came of it. */
export const SqlOutcome = z.union([
  z.object({ rows: z.array(z.record(z.string(), z.unknown())), truncated: z.boolean() }),
  z.object({ changes: z.number() }),
  z.object({ error: z.string() }),
]);
export type SqlOutcome = z.infer<typeof SqlOutcome>;
