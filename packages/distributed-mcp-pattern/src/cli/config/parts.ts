import { z } from 'zod';

/** Where a value is: in a variable, in a file, or here. */
export type Reference = string | { readonly env: string } | { readonly file: string };

/** Tells what a reference stands for, or what is wrong with it. `secret` ones given in the file itself are no less secret. */
export type Resolve = (reference: Reference, secret: boolean) => { readonly value: string } | { readonly problem: string };

/** What the schemas of a configuration file are made from. */
export interface SchemaParts {
  /** A text that is nobody's business. */
  readonly secret: ReturnType<typeof referenceSchema>;
  /** A text that may be elsewhere, such as a certificate. */
  readonly value: ReturnType<typeof referenceSchema>;
  /** A path, made absolute. Relative ones are relative to the configuration file. */
  readonly path: ReturnType<typeof pathSchema>;
}

export const text = z.string().min(1, 'expected a non-empty string');
export const texts = z.array(text);
export const oneOrMore = z.union([text, texts], { error: 'expected a string or a list of strings' });
/** Milliseconds, bytes and counts. Ranges are checked by what uses them. */
export const whole = z.int('expected a whole number').min(0, 'expected 0 or more');

/** Never repeats what it got: that may be the secret. */
export function referenceSchema(resolve: Resolve, secret: boolean) {
  return z
    .union([text, z.strictObject({ env: text }), z.strictObject({ file: text })], {
      error: 'expected a non-empty text, {"env": "NAME"} or {"file": "path"}; what was found is none of them',
    })
    .describe(`${secret ? 'A secret' : 'A text'}: {"env": "NAME"}, {"file": "path"}, or here, with "\${NAME}" within it`)
    .transform((reference, context) => {
      const resolved = resolve(reference, secret);
      if ('value' in resolved) return resolved.value;
      context.addIssue({ code: 'custom', message: resolved.problem });
      return z.NEVER;
    });
}

export function pathSchema(absolute: (path: string) => string) {
  return text.transform(absolute);
}
