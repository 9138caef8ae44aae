import { z } from 'zod';

export const nodeUrl = z.string().refine((url) => /^(https?|wss?):$/.test(URL.parse(url)?.protocol ?? ''), {
  error: ({ input }) => `expected an http, https, ws or wss URL, got '${String(input)}'`,
});

/** A node as a configuration or a registry holds it. */
export const serviceNodeSchema = z.object({
  id: z.string().min(1, 'expected a non-empty string'),
  url: nodeUrl,
  weight: z.number().positive().exactOptional(),
  region: z.string().exactOptional(),
  version: z.string().exactOptional(),
  metadata: z.record(z.string(), z.string()).exactOptional(),
});
