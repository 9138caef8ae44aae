import { ConfigurationError, isJsonObject, type JsonObject, RpcError } from '@mcp-blocks/core';
import { type AccessPolicy, ownPolicy } from './access-policy.js';
import type { Access } from './access-rule.js';
import { type ArgumentBounds, outOfBounds } from './argument-bounds.js';
import { type Completer, type Completers, checkedCompleters } from './completion.js';
import { type ContentBlock, type InputRequiredResult, isInputRequired } from './content.js';
import type { Outcome } from './execution.js';
import type { HandlerContext } from './handler-context.js';
import { type Presentation, pick, presented } from './presentation.js';
import { type CompiledSchema, compileSchema, type Schema, type SchemaOutput, type Validated } from './schema.js';

/** A prompt, less its function. */
export interface PromptDefinition<A extends Schema> extends Presentation {
  /**
   * The arguments. Clients send strings, so each property must accept one (`z.coerce.number()` does).
   * Title, description and whether it is required are listed from the schema. Absent: no arguments.
   */
  readonly arguments?: A;
  /** Suggestions for the values of the arguments. */
  readonly complete?: Completers;
  /** Who may see and get it. Default: the registry's `defaultAccess`. */
  readonly access?: Access;
}

/** One message of a prompt. */
export interface PromptMessage {
  readonly role: 'user' | 'assistant';
  readonly content: ContentBlock;
}

/** What a prompt's function may return. A string is one message of the user. */
export type PromptReturn =
  | string
  | readonly PromptMessage[]
  | { readonly description?: string; readonly messages: readonly PromptMessage[]; readonly _meta?: JsonObject }
  | InputRequiredResult;

/** A prompt's function. */
export type PromptHandler<A extends Schema> = (args: SchemaOutput<A>, context: HandlerContext) => PromptReturn | Promise<PromptReturn>;

/** A registered prompt. */
export interface PromptEntry {
  readonly kind: 'prompt';
  readonly key: string;
  readonly definition: JsonObject;
  readonly version: string | undefined;
  /** Its own rules; `setAccess` of the registry replaces them. */
  access: AccessPolicy | undefined;
  readonly takesArguments: boolean;
  readonly arguments: CompiledSchema | undefined;
  /** The names of the arguments, declared in the schema. */
  readonly argumentNames: readonly string[];
  readonly completers: ReadonlyMap<string, Completer>;
  readonly handler: (args: never, context: HandlerContext) => PromptReturn | Promise<PromptReturn>;
}

/** @throws ConfigurationError naming what is wrong with the registration. */
export function promptEntry(name: string, definition: PromptDefinition<Schema>, handler: PromptEntry['handler']): PromptEntry {
  if (typeof name !== 'string' || name === '')
    throw new ConfigurationError('prompt', `expected a non-empty name, got ${JSON.stringify(name)}`);
  const at = `prompt '${name}'`;
  if (typeof handler !== 'function') throw new ConfigurationError(at, 'expected a function as the last argument');
  const schema = definition.arguments && compileSchema(definition.arguments, 'input', `${at}.arguments`, 'arguments');
  const listed = schema === undefined ? [] : listedArguments(schema.json);
  const argumentNames = listed.map((argument) => argument.name as string);
  return {
    kind: 'prompt',
    key: name,
    definition: {
      name,
      ...presented(definition, ['title', 'description', 'icons'], at),
      ...(listed.length > 0 ? { arguments: listed } : {}),
    },
    version: definition.version,
    access: ownPolicy(definition.access, `${at}.access`),
    takesArguments: schema !== undefined,
    arguments: schema,
    argumentNames,
    completers: checkedCompleters(definition.complete, argumentNames, `${at}.complete`),
    handler,
  };
}

function listedArguments({ properties, required }: JsonObject): JsonObject[] {
  const needed = Array.isArray(required) ? required : [];
  return Object.entries(isJsonObject(properties) ? properties : {}).map(([name, property]) => ({
    name,
    ...(isJsonObject(property) ? pick(property, ['title', 'description']) : {}),
    required: needed.includes(name),
  }));
}

/** What a run of a prompt needs beside the request. */
export interface PromptRun {
  readonly bounds: ArgumentBounds;
  /** Rejects with an `RpcError` when the caller may not get the prompt with these arguments. */
  readonly admit: (args: JsonObject) => void | Promise<void>;
}

/**
 * Validates the arguments and makes the `prompts/get` result.
 *
 * @throws RpcError `invalid_params` for arguments the schema refuses; an `Error` when the handler
 * returned something else than a prompt.
 */
export async function runPrompt(
  prompt: PromptEntry,
  args: JsonObject,
  context: HandlerContext,
  { bounds, admit }: PromptRun,
): Promise<Outcome> {
  const problem = outOfBounds(args, bounds) ?? notStrings(args);
  const checked = problem === undefined ? await validateArguments(prompt, args) : { problems: [problem] };
  if ('problems' in checked) {
    throw new RpcError('invalid_params', `Invalid arguments for prompt '${prompt.key}': ${checked.problems.join('; ')}`, {
      auditReason: 'invalid arguments',
    });
  }
  await admit(checked.value as JsonObject);
  const returned: unknown = await prompt.handler(checked.value as never, context);
  if (isInputRequired(returned)) return { result: { ...returned } as JsonObject };
  if (typeof returned === 'string') return { result: { messages: [{ role: 'user', content: { type: 'text', text: returned } }] } };
  const result = Array.isArray(returned) ? { messages: returned } : returned;
  if (!isJsonObject(result) || !Array.isArray(result.messages) || !result.messages.every(isMessage)) {
    throw new Error('the prompt returned something else than messages');
  }
  return { result };
}

function validateArguments(prompt: PromptEntry, args: JsonObject): Validated | Promise<Validated> {
  if (prompt.arguments !== undefined) return prompt.arguments.validate(args);
  const unknown = Object.keys(args);
  return unknown.length === 0
    ? { value: args }
    : { problems: unknown.slice(0, 10).map((key) => `arguments.${key}: this prompt takes no arguments`) };
}

function notStrings(args: JsonObject): string | undefined {
  for (const [name, value] of Object.entries(args)) if (typeof value !== 'string') return `arguments.${name}: expected string`;
  return undefined;
}

function isMessage(message: unknown): boolean {
  return isJsonObject(message) && typeof message.role === 'string' && isJsonObject(message.content);
}
