import { z } from 'zod';

export const SERVICES = ['weather', 'database', 'files'] as const;
export type ServiceName = (typeof SERVICES)[number];

/** What a node process is told by the process that starts it. Holds no secret: only a public key. */
export const NodeSettings = z.object({
  id: z.string(),
  service: z.enum(SERVICES),
  /** Who signs the tokens this node accepts, and the key to check them with. */
  issuer: z.string(),
  publicKey: z.string(),
  audience: z.string(),
  auditFile: z.string(),
  databaseFile: z.string(),
  filesFolder: z.string(),
  weatherApiUrl: z.url(),
});
export type NodeSettings = z.infer<typeof NodeSettings>;

/** What a node says when it serves. */
export const NodeReady = z.object({ url: z.url() });
