import { ConfigurationError, RpcError } from '@mcp-blocks/core';
import type {
  Client,
  ClientCapabilities,
  CreateMessageRequestParams,
  CreateMessageResult,
  CreateMessageResultWithTools,
  ElicitRequestFormParams,
  ElicitRequestURLParams,
  ElicitResult,
  ListRootsResult,
} from '@modelcontextprotocol/client';

/** What the handler of an input request learns beside its parameters. */
export interface InputContext {
  /** Aborts when nobody needs the answer any longer: the request was cancelled or is out of time, or its connection is gone. */
  readonly signal: AbortSignal;
}

/** Answers one kind of question. What it throws stays here: the server, or whoever made the request, learns that there is no answer. */
export type InputHandler<P, R> = (params: P, context: InputContext) => R | Promise<R>;

/**
 * Answer what a server asks in the middle of a request, in either era: in rounds of `input_required`
 * (MCP 2026-07-28 basic/patterns/mrtr) or by requests of its own (2025-11-25). The client declares the capability of each that is given.
 */
export interface InputHandlers {
  /** Ask the user (client/elicitation). `decline` is the user's no, `cancel` the closed window. */
  readonly elicitation?: {
    /** With a form, made from `requestedSchema`. */
    readonly form?: InputHandler<ElicitRequestFormParams, ElicitResult>;
    /** With a page in the browser, at `url`. Its address is shown to the user before it is opened, and it is opened with their consent only. */
    readonly url?: InputHandler<ElicitRequestURLParams, ElicitResult>;
  };
  /** Asks a model (client/sampling). With tools, if `capabilities.sampling.tools` says so. */
  readonly sampling?: InputHandler<CreateMessageRequestParams, CreateMessageResult | CreateMessageResultWithTools>;
  /** Names the directories the server may work in (client/roots). */
  readonly roots?: InputHandler<undefined, ListRootsResult>;
}

type ElicitationModes = NonNullable<ClientCapabilities['elicitation']>;

/** The capabilities that the handlers stand for, with what else `declared` says. */
export function inputCapabilities({ elicitation, sampling, roots }: InputHandlers, declared: ClientCapabilities): ClientCapabilities {
  const capabilities = { ...declared };
  if (elicitation !== undefined) {
    const modes: ElicitationModes = {};
    if (elicitation.form !== undefined) modes.form = {};
    if (elicitation.url !== undefined) modes.url = {};
    capabilities.elicitation = { ...modes, ...declared.elicitation };
  }
  if (sampling !== undefined) capabilities.sampling = { ...declared.sampling };
  if (roots !== undefined) capabilities.roots = { ...declared.roots };
  return capabilities;
}

/** @throws ConfigurationError naming a declared capability that no handler answers for. */
export function checkInputCapabilities({ elicitation = {}, sampling, roots }: InputHandlers, declared: ClientCapabilities): void {
  const form = declared.elicitation !== undefined && (declared.elicitation.form !== undefined || declared.elicitation.url === undefined);
  const unanswered = Object.entries({
    'elicitation.form': form && elicitation.form === undefined,
    'elicitation.url': declared.elicitation?.url !== undefined && elicitation.url === undefined,
    sampling: declared.sampling !== undefined && sampling === undefined,
    roots: declared.roots !== undefined && roots === undefined,
  }).find(([, is]) => is)?.[0];
  if (unanswered !== undefined)
    throw new ConfigurationError(`capabilities.${unanswered}`, `expected inputHandlers.${unanswered} or configureClient to answer it`);
}

/** Registers the handlers with the SDK's client of a new connection. */
export function registerInputHandlers(client: Client, { elicitation, sampling, roots }: InputHandlers): void {
  if (elicitation !== undefined) {
    const { form, url } = elicitation;
    client.setRequestHandler('elicitation/create', ({ params }, { mcpReq: { signal } }) =>
      params.mode === 'url' ? answer('elicitation/create', url, params, signal) : answer('elicitation/create', form, params, signal),
    );
  }
  if (sampling !== undefined)
    client.setRequestHandler('sampling/createMessage', ({ params }, { mcpReq: { signal } }) =>
      answer('sampling/createMessage', sampling, params, signal),
    );
  if (roots !== undefined)
    client.setRequestHandler('roots/list', (_request, { mcpReq: { signal } }) => answer('roots/list', roots, undefined, signal));
}

async function answer<P, R>(method: string, handler: InputHandler<P, R> | undefined, params: P, signal: AbortSignal): Promise<R> {
  // The SDK refuses what is not declared, before it comes here.
  if (handler === undefined) throw new RpcError('missing_client_capability', `Nobody answers ${method} in this mode`);
  try {
    return await handler(params, { signal });
  } catch (cause) {
    throw new RpcError('cancelled', `The handler of ${method} has no answer`, { data: { sent: true }, cause });
  }
}
