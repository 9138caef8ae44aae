import { ConfigurationError, isJsonObject, isRpcError, type JsonObject } from '@mcp-blocks/core';
import { type AccessPolicy, ownPolicy } from './access-policy.js';
import type { Access } from './access-rule.js';
import { type ArgumentBounds, outOfBounds } from './argument-bounds.js';
import { type ContentBlock, type InputRequiredResult, isInputRequired } from './content.js';
import { describe, type Outcome } from './execution.js';
import type { HandlerContext } from './handler-context.js';
import { checkHeaderParameters } from './header-parameters.js';
import { type CompiledMask, compileMasks, type Mask, masked } from './mask.js';
import { type Presentation, presented } from './presentation.js';
import { checkedQuota, type Quota } from './quota.js';
import { type CompiledSchema, compileSchema, type Schema, type SchemaInput, type SchemaOutput, type Validated } from './schema.js';
import { isToolError } from './tool-error.js';

/** Hints about a tool's behaviour. Clients must not trust them, and the registry does not act on them. */
export interface ToolAnnotations {
  readonly title?: string;
  readonly readOnlyHint?: boolean;
  readonly destructiveHint?: boolean;
  readonly idempotentHint?: boolean;
  readonly openWorldHint?: boolean;
}

/** A tool, less its function. */
export interface ToolDefinition<I extends Schema, O extends Schema | undefined> extends Presentation {
  /** The arguments. Absent: the tool takes none. A property's `.meta({ 'x-mcp-header': 'Region' })` is kept. */
  readonly input?: I;
  /** The structured content. What is sent is what this schema made of the tool's value. */
  readonly output?: O;
  readonly annotations?: ToolAnnotations;
  /** Fields of the structured content that only some callers see. Needs `output`. */
  readonly mask?: readonly Mask[];
  /** How often each principal may call it with success. Needs the registry's `quotaStore`. */
  readonly quota?: Quota;
  /** Who may see and call it. Default: the registry's `defaultAccess`. */
  readonly access?: Access;
}

/** A tool that answers with content. */
export interface ToolResult {
  readonly content: readonly ContentBlock[];
  /** The content tells the model what went wrong. */
  readonly isError?: boolean;
  readonly _meta?: JsonObject;
}

/** A tool with an output schema answers with `structuredContent`; `content` defaults to its JSON text. */
export interface StructuredToolResult<Value> {
  readonly structuredContent: Value;
  readonly content?: readonly ContentBlock[];
  readonly _meta?: JsonObject;
}

/** What a tool's function may return. A string is one block of text. */
export type ToolReturn<O extends Schema | undefined> =
  | InputRequiredResult
  | (O extends Schema ? StructuredToolResult<SchemaInput<O>> | (ToolResult & { readonly isError: true }) : string | ToolResult);

/** A tool's function. Throw `ToolError` to tell the model, `RpcError` to fail the request; anything else is hidden. */
export type ToolHandler<I extends Schema, O extends Schema | undefined> = (
  args: SchemaOutput<I>,
  context: HandlerContext,
) => ToolReturn<O> | Promise<ToolReturn<O>>;

/** A registered tool. */
export interface ToolEntry {
  readonly kind: 'tool';
  readonly key: string;
  readonly definition: JsonObject;
  readonly version: string | undefined;
  /** Its own rules; `setAccess` of the registry replaces them. */
  access: AccessPolicy | undefined;
  readonly takesArguments: boolean;
  readonly input: CompiledSchema | undefined;
  readonly output: CompiledSchema | undefined;
  readonly masks: readonly CompiledMask[];
  readonly quota: Quota | undefined;
  readonly handler: (args: never, context: HandlerContext) => unknown;
}

/** MCP 2026-07-28, server/tools, "Tool Names". */
const TOOL_NAME = /^[A-Za-z0-9_.-]{1,128}$/;
const NO_INPUT: JsonObject = { type: 'object', additionalProperties: false };

/** @throws ConfigurationError naming what is wrong with the registration. */
export function toolEntry(name: string, definition: ToolDefinition<Schema, Schema | undefined>, handler: ToolEntry['handler']): ToolEntry {
  if (typeof name !== 'string' || !TOOL_NAME.test(name)) {
    throw new ConfigurationError('tool', `expected a name of 1 to 128 letters, digits, '_', '-', '.', got ${JSON.stringify(name)}`);
  }
  const at = `tool '${name}'`;
  if (typeof handler !== 'function') throw new ConfigurationError(at, 'expected a function as the last argument');
  const input = definition.input && compileSchema(definition.input, 'input', `${at}.input`, 'arguments');
  const output = definition.output && compileSchema(definition.output, 'output', `${at}.output`, 'structuredContent');
  if (definition.mask !== undefined && output === undefined) throw new ConfigurationError(`${at}.mask`, 'needs an output schema');
  const { masks, schema } =
    definition.mask && output ? compileMasks(definition.mask, output.json, `${at}.mask`) : { masks: [], schema: output?.json };
  if (input !== undefined) checkHeaderParameters(input.json, `${at}.input`);
  return {
    kind: 'tool',
    key: name,
    definition: {
      name,
      ...presented(definition, ['title', 'description', 'icons', 'annotations'], at),
      inputSchema: input?.json ?? NO_INPUT,
      ...(schema === undefined ? {} : { outputSchema: schema }),
    },
    version: definition.version,
    access: ownPolicy(definition.access, `${at}.access`),
    takesArguments: input !== undefined,
    input,
    output,
    masks,
    quota: definition.quota && checkedQuota(definition.quota, `${at}.quota`),
    handler,
  };
}

/** What a run of a tool needs beside the call. */
export interface ToolRun {
  readonly bounds: ArgumentBounds;
  /** Told of failures whose details the caller does not see. */
  readonly onError: (error: Error) => void;
  /** Throws or rejects with an `RpcError` when the caller may not call with these arguments. */
  readonly admit: (args: JsonObject) => void | Promise<void>;
  /** Runs the tool and charges its quota for success. */
  readonly charge: (run: () => Promise<Outcome>) => Promise<Outcome>;
  /** The masks that hide something from this caller. */
  readonly masksFor: (args: JsonObject) => readonly CompiledMask[];
}

/**
 * Validates the arguments, runs the tool and validates what it returned. Resolves with a result for
 * everything a model can act on; throws only what is a protocol error.
 */
export async function runTool(
  tool: ToolEntry,
  args: JsonObject,
  context: HandlerContext,
  { bounds, onError, admit, charge, masksFor }: ToolRun,
): Promise<Outcome> {
  const unexpected = (error: unknown): Outcome => {
    onError(error instanceof Error ? error : new Error(describe(error), { cause: error }));
    return failed(`Tool '${tool.key}' failed`, describe(error));
  };
  try {
    const problem = outOfBounds(args, bounds);
    const validated = problem === undefined ? validateArguments(tool, args) : { problems: [problem] };
    const checked = validated instanceof Promise ? await validated : validated;
    if ('problems' in checked)
      return failed(`Invalid arguments for tool '${tool.key}':\n${checked.problems.join('\n')}`, 'invalid arguments');
    const value = checked.value as JsonObject;
    const admission = admit(value);
    if (admission !== undefined) await admission;
    const masks = masksFor(value);
    const attempt = async () => toOutcome(tool, await tool.handler(value as never, context), masks);
    return await (tool.quota === undefined ? attempt() : charge(attempt));
  } catch (error) {
    if (isRpcError(error)) throw error;
    if (isToolError(error)) return failed(error.message, `tool error: ${error.message}`);
    return unexpected(error);
  }
}

function validateArguments(tool: ToolEntry, args: JsonObject): Validated | Promise<Validated> {
  if (tool.input !== undefined) return tool.input.validate(args);
  const unknown = Object.keys(args);
  return unknown.length === 0
    ? { value: args }
    : { problems: unknown.slice(0, 10).map((key) => `arguments.${key}: this tool takes no arguments`) };
}

function toOutcome(tool: ToolEntry, returned: unknown, masks: readonly CompiledMask[]): Outcome | Promise<Outcome> {
  if (isInputRequired(returned)) return { result: { ...returned } as JsonObject };
  if (typeof returned === 'string' && tool.output === undefined) return { result: { content: [{ type: 'text', text: returned }] } };
  if (!isJsonObject(returned)) throw new Error(`returned ${returned === null ? 'null' : typeof returned}, which is not a tool result`);
  const isError = returned.isError === true;
  if (tool.output === undefined || isError) {
    const { content } = returned;
    if (!isContent(content)) throw new Error('returned an object without a content array');
    // Of an error the words for the model remain: nothing says where in the rest the masked fields are.
    const result = masks.length > 0 ? { content: content as JsonObject[], isError } : returned;
    return { result, ...(isError ? { failure: 'the tool reported an error' } : {}) };
  }
  const checked = tool.output.validate(returned.structuredContent);
  return checked instanceof Promise ? checked.then((later) => structured(returned, later, masks)) : structured(returned, checked, masks);
}

function structured(returned: JsonObject, checked: Validated, masks: readonly CompiledMask[]): Outcome {
  if ('problems' in checked) throw new Error(`returned what its output schema refuses: ${checked.problems.join('; ')}`);
  const full = checked.value as JsonObject;
  // What the tool says beside, in words or in `_meta`, may tell what is masked.
  if (masks.length > 0) {
    const structuredContent = masked(full, masks);
    return { result: { content: jsonText(structuredContent), structuredContent } };
  }
  const { content = jsonText(full) } = returned;
  if (!isContent(content)) throw new Error('returned content that is not an array of blocks');
  return { result: { ...returned, content, structuredContent: full } };
}

function jsonText(value: JsonObject): JsonObject[] {
  return [{ type: 'text', text: JSON.stringify(value) }];
}

function isContent(content: unknown): boolean {
  return Array.isArray(content) && content.every((block) => isJsonObject(block) && typeof block.type === 'string');
}

function failed(text: string, failure: string): Outcome {
  return { result: { content: [{ type: 'text', text }], isError: true }, failure };
}
