import { ConfigurationError, isJsonObject, type JsonObject, type RpcContext, RpcError, type RpcResult } from '@mcp-blocks/core';

/** What a completer knows beside the value typed so far. */
export interface CompletionContext extends RpcContext {
  /** The other arguments the client has already settled. */
  readonly arguments: Readonly<Record<string, string>>;
}

/** Suggests values that fit what was typed so far, best first. Only the first 100 are sent. */
export type Completer = (value: string, context: CompletionContext) => readonly string[] | Promise<readonly string[]>;

/** Completers by the name of the argument or variable. */
export type Completers = Readonly<Record<string, Completer>>;

/** A well-formed `completion/complete` request. */
export interface CompletionRequest {
  readonly ref: { readonly kind: 'prompt' | 'template'; readonly key: string };
  readonly argument: { readonly name: string; readonly value: string };
  readonly arguments: Readonly<Record<string, string>>;
}

/** MCP 2026-07-28, server/utilities/completion: "Maximum 100 items per response". */
const MAX_VALUES = 100;

/** @throws ConfigurationError for a completer of something that does not exist, or that is no function. */
export function checkedCompleters(
  completers: Completers | undefined,
  names: readonly string[],
  option: string,
): ReadonlyMap<string, Completer> {
  const checked = new Map(Object.entries(completers ?? {}));
  for (const [name, completer] of checked) {
    if (!names.includes(name)) throw new ConfigurationError(`${option}.${name}`, `unknown; there are: ${names.join(', ')}`);
    if (typeof completer !== 'function') throw new ConfigurationError(`${option}.${name}`, 'expected a function');
  }
  return checked;
}

/** @throws RpcError `invalid_params` naming the member that is not as the spec has it. */
export function completionRequest({ ref, argument, context }: JsonObject): CompletionRequest {
  const refuse = (message: string) => new RpcError('invalid_params', message);
  if (!isJsonObject(argument) || typeof argument.name !== 'string' || typeof argument.value !== 'string') {
    throw refuse('argument: expected an object with name and value, both strings');
  }
  const { arguments: settled = {} } = isJsonObject(context) ? context : {};
  if (!isJsonObject(settled) || Object.values(settled).some((value) => typeof value !== 'string')) {
    throw refuse('context.arguments: expected an object of strings');
  }
  const common = { argument: { name: argument.name, value: argument.value }, arguments: settled as Record<string, string> };
  if (isJsonObject(ref) && ref.type === 'ref/prompt' && typeof ref.name === 'string') {
    return { ref: { kind: 'prompt', key: ref.name }, ...common };
  }
  if (isJsonObject(ref) && ref.type === 'ref/resource' && typeof ref.uri === 'string') {
    return { ref: { kind: 'template', key: ref.uri }, ...common };
  }
  throw refuse('ref: expected a ref/prompt with a name or a ref/resource with a uri');
}

/** The suggestions for one argument; none where nobody completes it. */
export async function complete(
  { argument, arguments: settled }: CompletionRequest,
  completers: ReadonlyMap<string, Completer>,
  context: RpcContext,
): Promise<RpcResult> {
  const all = (await completers.get(argument.name)?.(argument.value, { ...context, arguments: settled })) ?? [];
  const values = all.slice(0, MAX_VALUES);
  return { completion: { values, total: all.length, hasMore: all.length > values.length } };
}
