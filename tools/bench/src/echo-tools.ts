import type { z as Zod } from 'zod';

/** A tool as every contender registers it. The first one echoes `text` and is the one that is called. */
export interface EchoTool {
  readonly name: string;
  readonly description: string;
  readonly input: ReturnType<typeof Zod.object>;
}

/**
 * The tools of every contender, ten unless told. `z` is given, not imported: each contender validates with the zod of
 * its own installation, and each builds the schemas once, outside the request.
 */
export function echoTools(z: typeof Zod, count = 10): readonly EchoTool[] {
  return [
    { name: 'echo', description: 'Answers with the text it is given.', input: z.object({ text: z.string().min(1).max(1000) }) },
    ...Array.from({ length: count - 1 }, (_, index) => ({
      name: `record_${index + 1}`,
      description: `Keeps a record of kind ${index + 1}.`,
      input: z.object({
        id: z.string().min(1).max(64),
        amount: z.number().min(0).max(1_000_000),
        currency: z.enum(['EUR', 'USD', 'JPY']),
        note: z.string().max(200).optional(),
        tags: z.array(z.string().max(40)).max(10).optional(),
      }),
    })),
  ];
}

/** What every tool of every contender answers: the text, or the arguments as text. */
export function echoResult(input: Record<string, unknown>): { content: [{ type: 'text'; text: string }] } {
  return { content: [{ type: 'text', text: typeof input['text'] === 'string' ? input['text'] : JSON.stringify(input) }] };
}
