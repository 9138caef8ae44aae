import {
  type Clock,
  eraOf,
  isJsonObject,
  isRpcError,
  type JsonObject,
  type JsonValue,
  type RpcContext,
  RpcError,
  type RpcRequest,
  type RpcResult,
} from '@mcp-blocks/core';
import type { Decision, Denial } from './access-policy.js';
import { type ArgumentBounds, badResponses, outOfBounds } from './argument-bounds.js';
import { type AuditLog, argumentKeys, clipped } from './audit-log.js';
import type { Catalog } from './catalog.js';
import { complete, completionRequest } from './completion.js';
import { describe, type Execution, execute, type Outcome } from './execution.js';
import type { Gatekeeper, Guarded } from './gatekeeper.js';
import { type HandlerContext, handlerContext } from './handler-context.js';
import { ListResults } from './list-results.js';
import { page } from './pagination.js';
import { type PromptEntry, runPrompt } from './prompt.js';
import type { QuotaLedger } from './quota.js';
import { RefusedCall } from './refused-call.js';
import { type RequestStateSeal, type StateBinding, StateRefusal } from './request-state.js';
import { type ResourceEntry, type ResourceReturn, type ResourceTemplateEntry, resourceNotFound, toReadOutcome } from './resource.js';
import { runTool, type ToolEntry, type ToolRun } from './tool.js';
import { percentDecoded } from './uri-template.js';

/** Everything registered. */
export interface Catalogs {
  readonly tools: Catalog<ToolEntry>;
  readonly resources: Catalog<ResourceEntry>;
  readonly templates: Catalog<ResourceTemplateEntry>;
  readonly prompts: Catalog<PromptEntry>;
}

/** What the handler works with, checked by who made it. */
export interface RegistryHandlerParts {
  readonly catalogs: Catalogs;
  readonly hasCapability: (name: 'tools' | 'resources' | 'prompts' | 'completions' | 'logging') => boolean;
  readonly gatekeeper: Gatekeeper;
  /** Absent: no tool has a quota. */
  readonly quotas: QuotaLedger | undefined;
  /** Absent: states are strings of the handlers' own. */
  readonly seal: RequestStateSeal | undefined;
  readonly audit: AuditLog;
  readonly clock: Clock;
  readonly bounds: ArgumentBounds;
  readonly pageSize: number;
  readonly listTtlMs: number;
  readonly onError: (error: Error) => void;
}

interface Entry extends Guarded {
  readonly definition: JsonObject;
}

/** An entry as a denial names it. */
interface Target {
  readonly kind: 'tool' | 'resource' | 'prompt';
  readonly name: string;
  readonly method: string;
}

/** A resource found for a URI, fixed or by template. */
interface Readable extends Entry, Pick<ResourceEntry, 'cacheHint' | 'mimeType'> {
  /** The variables of its template. */
  readonly arguments: JsonObject;
  readonly read: (context: HandlerContext) => ResourceReturn | Promise<ResourceReturn>;
}

/** Answers the requests to a registry. */
export class RegistryHandler {
  readonly #parts: RegistryHandlerParts;
  readonly #lists = new ListResults();

  constructor(parts: RegistryHandlerParts) {
    this.#parts = parts;
  }

  handle(request: RpcRequest, context: RpcContext): Promise<RpcResult> {
    try {
      return this.#route(request, context);
    } catch (error) {
      return Promise.reject(error as Error);
    }
  }

  #route({ method, params }: RpcRequest, context: RpcContext): Promise<RpcResult> {
    const { tools, resources, templates, prompts } = this.#parts.catalogs;
    this.#checkExpiry(method, context);
    switch (method) {
      case 'tools/list':
        return this.#requires('tools', method).#list('tools', method, tools, params, context);
      case 'tools/call':
        return this.#requires('tools', method).#callTool(params, context);
      case 'resources/list':
        return this.#requires('resources', method).#list('resources', method, resources, params, context);
      case 'resources/templates/list':
        return this.#requires('resources', method).#list('resourceTemplates', method, templates, params, context);
      case 'resources/read':
        return this.#requires('resources', method).#readResource(params, context);
      case 'resources/subscribe':
        return this.#requires('resources', method).#subscribe(params, context);
      case 'resources/unsubscribe':
        this.#requires('resources', method);
        text(params.uri, 'uri');
        // Giving something up needs no permission, and the answer tells nothing.
        return Promise.resolve({});
      case 'prompts/list':
        return this.#requires('prompts', method).#list('prompts', method, prompts, params, context);
      case 'prompts/get':
        return this.#requires('prompts', method).#getPrompt(params, context);
      case 'completion/complete':
        return this.#requires('completions', method).#complete(params, context);
      default:
        throw methodNotFound(method);
    }
  }

  #requires(capability: 'tools' | 'resources' | 'prompts' | 'completions', method: string): this {
    if (!this.#parts.hasCapability(capability)) throw methodNotFound(method);
    return this;
  }

  /** Connections outlive credentials, and not every listener looks at the clock. */
  #checkExpiry(method: string, context: RpcContext): void {
    const { expiresAt } = context.principal;
    if (expiresAt === undefined || expiresAt > this.#parts.clock.now()) return;
    this.#parts.audit.record({ type: 'auth.failed', outcome: 'denied', target: method, reason: 'the principal has expired' }, context);
    throw new RpcError('unauthenticated', 'The credentials have expired', {
      auditReason: 'the principal has expired',
      headers: { 'www-authenticate': 'Bearer error="invalid_token", error_description="The credentials have expired"' },
    });
  }

  async #list(
    kind: string,
    method: string,
    catalog: Catalog<ToolEntry> | Catalog<ResourceEntry> | Catalog<ResourceTemplateEntry> | Catalog<PromptEntry>,
    params: JsonObject,
    context: RpcContext,
  ): Promise<RpcResult> {
    const { gatekeeper, pageSize, listTtlMs, audit } = this.#parts;
    let failure: string | undefined;
    const visible = async (batch: readonly Entry[]) => {
      const visibility = await gatekeeper.visible(batch, context);
      failure ??= visibility.failure;
      return visibility.visible;
    };
    const { entries, nextCursor } = await page<Entry>(kind, catalog.sorted, visible, params, pageSize);
    if (failure !== undefined) audit.record({ type: 'list.failed', outcome: 'failed', target: method, reason: failure }, context);
    return this.#lists.of(kind, entries, {
      ...(nextCursor === undefined ? {} : { nextCursor }),
      // Private always: what is listed depends on who asks.
      ...(eraOf(context.protocolVersion) === 'modern' ? { ttlMs: failure === undefined ? listTtlMs : 0, cacheScope: 'private' } : {}),
    });
  }

  /** The entry, if the caller may use it. Every other way ends in the same error as for an entry that is not there. */
  #guarded<E extends Entry>(entry: E | undefined, target: Target, context: RpcContext): E | Promise<E> {
    if (entry === undefined) throw this.#denied(unknown(target.kind), target, context);
    const settle = (decision: Decision): E => {
      if (decision.allowed) return entry;
      throw this.#denied(decision, target, context);
    };
    const decision = this.#parts.gatekeeper.decide(entry, context);
    return decision instanceof Promise ? decision.then(settle) : settle(decision);
  }

  #denied({ reason, scopes }: Denial, { kind, name, method }: Target, context: RpcContext): RpcError {
    this.#parts.audit.record({ type: `${kind}.denied`, outcome: 'denied', target: name, reason, details: { method } }, context);
    if (scopes !== undefined) return insufficientScope(scopes.required, reason);
    if (kind === 'resource') return resourceNotFound(name, reason);
    return new RpcError('invalid_params', `Unknown ${kind}: ${clipped(name)}`, { auditReason: reason });
  }

  async #callTool(params: JsonObject, context: RpcContext): Promise<RpcResult> {
    const name = text(params.name, 'name');
    const guarded = this.#guarded(this.#parts.catalogs.tools.get(name), { kind: 'tool', name, method: 'tools/call' }, context);
    const tool = guarded instanceof Promise ? await guarded : guarded;
    const args = argumentsOf(params);
    const { bounds, onError, gatekeeper } = this.#parts;
    const run: ToolRun = {
      bounds,
      onError,
      admit: this.#admission(tool, context),
      charge: (attempt) => this.#charge(tool, context, attempt),
      masksFor: (checked) => tool.masks.filter(({ unless }) => !gatekeeper.holds(unless, context, checked)),
    };
    return this.#run({ type: 'tool.call', target: name, details: argumentKeys(args) }, params, context, (own) =>
      runTool(tool, args, own, run),
    );
  }

  #charge({ key, quota }: ToolEntry, { principal }: RpcContext, attempt: () => Promise<Outcome>): Promise<Outcome> {
    const { quotas } = this.#parts;
    if (quota === undefined || quotas === undefined) return attempt();
    return quotas.charge(
      key,
      quota,
      principal,
      attempt,
      (outcome) => outcome.failure === undefined && outcome.result.resultType !== 'input_required',
    );
  }

  /** Asks once more when the arguments are known. That the entry exists is no secret from who got this far. */
  #admission(entry: Entry, context: RpcContext) {
    const settle = (decision: Decision): void => {
      if (decision.allowed) return;
      const { reason: auditReason, scopes } = decision;
      const { code, message, data, headers } = scopes === undefined ? FORBIDDEN : insufficientScope(scopes.required, auditReason);
      const options = { auditReason, ...(data === undefined ? {} : { data }), ...(headers === undefined ? {} : { headers }) };
      throw new RefusedCall(`${entry.kind}.denied`, code, message, options);
    };
    return (args: JsonObject): void | Promise<void> => {
      const decision = this.#parts.gatekeeper.admit(entry, context, args);
      return decision instanceof Promise ? decision.then(settle) : settle(decision);
    };
  }

  /** As for tools, but the URI is all there is: refused for its variables, it is one that does not exist. */
  async #readable(uri: string, method: string, context: RpcContext): Promise<Readable> {
    const target = { kind: 'resource', name: uri, method } as const;
    const resource = await this.#guarded(this.#find(uri), target, context);
    const decision = await this.#parts.gatekeeper.admit(resource, context, resource.arguments);
    if (!decision.allowed) throw this.#denied(decision, target, context);
    return resource;
  }

  async #readResource(params: JsonObject, context: RpcContext): Promise<RpcResult> {
    const uri = text(params.uri, 'uri');
    const resource = await this.#readable(uri, 'resources/read', context);
    return this.#run({ type: 'resource.read', target: uri }, params, context, (own) =>
      this.#hidingDetails('Reading the resource failed', async () => toReadOutcome(uri, resource, await resource.read(own), own)),
    );
  }

  async #getPrompt(params: JsonObject, context: RpcContext): Promise<RpcResult> {
    const name = text(params.name, 'name');
    const prompt = await this.#guarded(this.#parts.catalogs.prompts.get(name), { kind: 'prompt', name, method: 'prompts/get' }, context);
    const args = argumentsOf(params);
    const { bounds } = this.#parts;
    const admit = this.#admission(prompt, context);
    return this.#run({ type: 'prompt.get', target: name, details: argumentKeys(args) }, params, context, (own) =>
      this.#hidingDetails(`Prompt '${name}' failed`, () => runPrompt(prompt, args, own, { bounds, admit })),
    );
  }

  async #subscribe(params: JsonObject, context: RpcContext): Promise<RpcResult> {
    const uri = text(params.uri, 'uri');
    await this.#readable(uri, 'resources/subscribe', context);
    this.#parts.audit.record({ type: 'resource.subscribe', outcome: 'allowed', target: uri }, context);
    return {};
  }

  async #complete(params: JsonObject, context: RpcContext): Promise<RpcResult> {
    const request = completionRequest(params);
    const { kind, key } = request.ref;
    const method = 'completion/complete';
    const { prompts, templates } = this.#parts.catalogs;
    const [completers, names] =
      kind === 'prompt'
        ? pair(await this.#guarded(prompts.get(key), { kind: 'prompt', name: key, method }, context))
        : pair(await this.#guarded(templates.get(key), { kind: 'resource', name: key, method }, context));
    if (!names.includes(request.argument.name)) throw new RpcError('invalid_params', `argument.name: ${kind} has no such argument`);
    return this.#hidingDetails('Completing failed', () => complete(request, completers, context));
  }

  /** A fixed resource before templates; of the templates the one registered first, whatever its rule. */
  #find(uri: string): Readable | undefined {
    const fixed = this.#parts.catalogs.resources.get(uri);
    if (fixed !== undefined) return { ...fixed, arguments: {}, read: (context) => fixed.read(uri, context) };
    const before: ResourceTemplateEntry[] = [];
    for (const entry of this.#parts.catalogs.templates.values()) {
      const variables = entry.template.match(uri);
      if (variables === undefined) before.push(entry);
      else if (this.#respells(uri, before)) return undefined;
      else return { ...entry, arguments: variables, read: (context) => entry.read(variables, { ...context, uri }) };
    }
    return undefined;
  }

  /** Whether the URI is another spelling of one that a fixed resource or one of these templates answers: by it, nobody gets past their rules. */
  #respells(uri: string, before: readonly ResourceTemplateEntry[]): boolean {
    const plain = percentDecoded(uri);
    for (const resource of this.#parts.catalogs.resources.values()) if (resource.plainUri === plain) return true;
    return before.some(({ template }) => template.covers(plain));
  }

  async #run(
    execution: Execution,
    params: JsonObject,
    context: RpcContext,
    run: (own: HandlerContext) => Promise<Outcome>,
  ): Promise<RpcResult> {
    const own = handlerContext(context, params, this.#parts.hasCapability('logging'));
    const { principal } = context;
    const binding = { principal, method: execution.type, name: execution.target, arguments: argumentsOf(params) };
    try {
      return await execute(execution, context, this.#parts, async () => {
        const { inputResponses, requestState } = own.context;
        const { bounds, seal } = this.#parts;
        const problem = inputResponses && badResponses(inputResponses, bounds);
        if (problem !== undefined) throw new RpcError('invalid_params', problem);
        if (seal === undefined || requestState === undefined) return this.#sealed(await run(own.context), binding);
        const opened = await this.#opened(seal, requestState as string, binding);
        return this.#sealed(await run({ ...own.context, requestState: opened }), binding);
      });
    } finally {
      own.close();
    }
  }

  async #opened(seal: RequestStateSeal, requestState: string, binding: StateBinding): Promise<JsonValue> {
    try {
      const problem = outOfBounds(binding.arguments, this.#parts.bounds);
      if (problem !== undefined) throw new StateRefusal(problem);
      return await seal.open(requestState, binding);
    } catch (error) {
      if (!(error instanceof StateRefusal)) throw error;
      throw new RefusedCall('request_state.refused', 'invalid_params', 'Invalid or expired requestState', {
        data: { reason: 'invalid_request_state' },
        auditReason: `requestState: ${error.message}`,
      });
    }
  }

  #sealed(outcome: Outcome, binding: StateBinding): Outcome | Promise<Outcome> {
    const { resultType, requestState } = outcome.result;
    if (resultType !== 'input_required' || requestState === undefined) return outcome;
    return this.#hidingDetails('Asking for input failed', async () => {
      const { seal } = this.#parts;
      if (seal !== undefined) return { ...outcome, result: { ...outcome.result, requestState: await seal.seal(requestState, binding) } };
      if (typeof requestState !== 'string') throw new Error('a requestState that is no string needs the option requestState');
      return outcome;
    });
  }

  async #hidingDetails<T>(message: string, run: () => Promise<T>): Promise<T> {
    try {
      return await run();
    } catch (error) {
      if (isRpcError(error)) throw error;
      const cause = error instanceof Error ? error : new Error(describe(error), { cause: error });
      this.#parts.onError(cause);
      throw new RpcError('internal_error', message, { cause, auditReason: describe(error) });
    }
  }
}

function unknown(kind: Target['kind']): Denial {
  return { allowed: false, reason: `unknown ${kind}` };
}

function pair(entry: PromptEntry | ResourceTemplateEntry) {
  return [entry.completers, 'template' in entry ? entry.template.variables : entry.argumentNames] as const;
}

function text(value: unknown, member: string): string {
  if (typeof value !== 'string') throw new RpcError('invalid_params', `${member}: expected a string`);
  return value;
}

function argumentsOf(params: JsonObject): JsonObject {
  const { arguments: args = {} } = params;
  if (!isJsonObject(args)) throw new RpcError('invalid_params', 'arguments: expected an object');
  return args;
}

function methodNotFound(method: string): RpcError {
  return new RpcError('method_not_found', `Method not found: ${clipped(method)}`);
}

const FORBIDDEN = new RpcError('forbidden', 'Not allowed with these arguments');

/** RFC 6750, section 3.1; all scopes in one challenge (MCP 2026-07-28, basic/authorization, "Scope Challenge Handling"). */
function insufficientScope(scopes: readonly string[], auditReason: string): RpcError {
  return new RpcError('insufficient_scope', `Needs the scopes: ${scopes.join(' ')}`, {
    data: { requiredScopes: [...scopes] },
    auditReason,
    headers: { 'www-authenticate': `Bearer error="insufficient_scope", scope="${scopes.join(' ')}"` },
  });
}
