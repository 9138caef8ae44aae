import { ConfigurationError, isJsonObject, type JsonObject } from '@mcp-blocks/core';

/**
 * A schema that validates and can describe itself as JSON Schema: any schema of zod 4.2 or later, or of
 * another library that implements Standard Schema with Standard JSON Schema (https://standardschema.dev).
 * A JSON Schema of your own becomes one with `fromJsonSchema` of `@modelcontextprotocol/server`.
 */
export interface Schema<Input = unknown, Output = Input> {
  readonly '~standard': {
    readonly version: 1;
    readonly vendor: string;
    readonly types?: { readonly input: Input; readonly output: Output } | undefined;
    readonly validate: (value: unknown) => SchemaResult<Output> | Promise<SchemaResult<Output>>;
    readonly jsonSchema: {
      readonly input: (options: { readonly target: 'draft-2020-12' }) => Record<string, unknown>;
      readonly output: (options: { readonly target: 'draft-2020-12' }) => Record<string, unknown>;
    };
  };
}

/** What a {@link Schema} answers: the parsed value, or what is wrong. */
export type SchemaResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | { readonly issues: readonly SchemaIssue[]; readonly value?: undefined };

interface SchemaIssue {
  readonly message: string;
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined;
}

/** What a schema accepts. */
export type SchemaInput<S extends Schema> = NonNullable<S['~standard']['types']>['input'];
/** What a schema makes of it. */
export type SchemaOutput<S extends Schema> = NonNullable<S['~standard']['types']>['output'];

/** A parsed value, or the problems as one line each, naming the path. */
export type Validated = { readonly value: unknown } | { readonly problems: readonly string[] };

/** A schema prepared once, at registration. */
export interface CompiledSchema {
  readonly json: JsonObject;
  /** A promise only where the schema answers with one. */
  validate(value: unknown): Validated | Promise<Validated>;
}

/** More are no help to a model, and a hostile argument could cause millions. */
const MAX_PROBLEMS = 10;

/**
 * Prepares a schema: its JSON Schema is computed here and never again.
 *
 * @param direction - which side of a transforming schema clients see.
 * @param option - the path to name in the error.
 * @param root - what the problems call the validated value, such as `arguments`.
 * @throws ConfigurationError when it is not a {@link Schema}, has no JSON Schema, or does not describe an object.
 */
export function compileSchema(schema: Schema, direction: 'input' | 'output', option: string, root: string): CompiledSchema {
  const standard = (schema as Partial<Schema> | undefined)?.['~standard'];
  if (standard?.jsonSchema === undefined || typeof standard.validate !== 'function') {
    throw new ConfigurationError(option, 'expected a schema with Standard JSON Schema, such as z.object({ … }) of zod 4.2 or later');
  }
  let json: unknown;
  try {
    json = JSON.parse(JSON.stringify(standard.jsonSchema[direction]({ target: 'draft-2020-12' })));
  } catch (error) {
    throw new ConfigurationError(option, `has no JSON Schema: ${error instanceof Error ? error.message : String(error)}`);
  }
  if (!isJsonObject(json) || json.type !== 'object') {
    throw new ConfigurationError(option, "expected a schema of an object (JSON Schema type 'object' at the root)");
  }
  return {
    json,
    validate(value) {
      const result = standard.validate(value);
      return 'then' in result ? Promise.resolve(result).then((later) => validated(root, later)) : validated(root, result);
    },
  };
}

function validated(root: string, result: SchemaResult<unknown>): Validated {
  if (result.issues === undefined) return { value: result.value };
  const problems = result.issues.slice(0, MAX_PROBLEMS).map((issue) => `${pathOf(root, issue)}: ${issue.message}`);
  const more = result.issues.length - problems.length;
  return { problems: more > 0 ? [...problems, `and ${more} more`] : problems };
}

function pathOf(root: string, { path = [] }: SchemaIssue): string {
  let text = root;
  for (const segment of path) {
    const key = typeof segment === 'object' ? segment.key : segment;
    text += typeof key === 'number' ? `[${key}]` : `.${String(key)}`;
  }
  return text;
}
