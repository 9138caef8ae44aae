import {
  type Caller,
  ConfigurationError,
  type JsonObject,
  type RpcHandler,
  type RpcService,
  type ServiceEvent,
  ServiceEventEmitter,
  type ServiceEvents,
  type ServiceInfo,
  systemClock,
} from '@mcp-blocks/core';
import { AccessPolicy, ownPolicy } from './access-policy.js';
import type { Access } from './access-rule.js';
import { AuditLog } from './audit-log.js';
import { Catalog } from './catalog.js';
import { DecisionClient } from './decision-client.js';
import type { EntryKind } from './decision-point.js';
import { Gatekeeper } from './gatekeeper.js';
import { type PromptDefinition, type PromptEntry, type PromptHandler, promptEntry } from './prompt.js';
import { QuotaLedger } from './quota.js';
import { type Catalogs, RegistryHandler } from './registry-handler.js';
import type { AuthenticatedToolRegistryOptions, RegistryCapability } from './registry-options.js';
import { RequestStateSeal } from './request-state.js';
import {
  type CacheHint,
  checkedCacheScope,
  type FixedResourceDefinition,
  type ResourceReader,
  type ResourceTemplateDefinition,
  type ResourceTemplateReader,
  resourceEntry,
  resourceTemplateEntry,
} from './resource.js';
import { RoleHierarchy } from './role-hierarchy.js';
import type { Schema } from './schema.js';
import { type ToolDefinition, type ToolEntry, type ToolHandler, toolEntry } from './tool.js';

/** What a registration returns. */
export interface Registration {
  /** Takes the entry out again, once. Tells whether it was still there; one that was replaced is not. */
  remove(): boolean;
}

/** How an entry is registered. */
export interface RegistrationOptions {
  /**
   * Takes the place of the entry with the same name, URI or URI template, if there is one, in one step: no caller
   * finds neither or both. Calls in progress finish with the entry they began with; all later ones get the new one,
   * which brings its own access, whatever `setAccess` did to the old one. Default: `false`, a key that is taken throws.
   */
  readonly replace?: boolean;
}

/** The schema of an entry that takes no arguments. */
type NoArguments = Schema<Record<string, never>>;

interface Registered {
  readonly key: string;
  readonly version: string | undefined;
  access: AccessPolicy | undefined;
  readonly cacheHint?: Required<CacheHint>;
}

const CHANGED: Readonly<Record<EntryKind, ServiceEvent>> = {
  tool: { kind: 'tools_list_changed' },
  resource: { kind: 'resources_list_changed' },
  'resource template': { kind: 'resources_list_changed' },
  prompt: { kind: 'prompts_list_changed' },
};

/**
 * Tools, resources, resource templates and prompts, each with an access rule, as one `RpcService`.
 *
 * One decision filters every list and guards every call, read, get, subscription and completion, so what
 * is listed can be used and what is not listed cannot; what rules say about arguments is asked of a call on
 * top of that. A denied entry answers as one that does not exist, but for one case: an authenticated caller who lacks nothing but scopes is told which, with
 * `insufficient_scope`, so that an OAuth client can ask for them.
 *
 * The handler throws `RpcError`: `method_not_found` for what the registry has no capability for,
 * `invalid_params`, `resource_not_found`, `insufficient_scope`, `forbidden` for arguments that
 * the rules refuse, `unauthenticated` when the principal has
 * expired, `cancelled`, `internal_error`, and whatever `RpcError` an entry's own function throws.
 */
export class AuthenticatedToolRegistry implements RpcService {
  // Own members, not methods: a service is taken apart and put together again around middleware.
  readonly info: ServiceInfo;
  readonly handler: RpcHandler;
  readonly events: ServiceEvents;
  readonly toolInputSchema: (name: string, caller: Caller) => JsonObject | undefined;

  readonly #catalogs: Catalogs = {
    tools: new Catalog('tool'),
    resources: new Catalog('resource'),
    templates: new Catalog('resource template'),
    prompts: new Catalog('prompt'),
  };
  readonly #emitter = new ServiceEventEmitter();
  readonly #audit: AuditLog;
  readonly #declared: ReadonlySet<RegistryCapability>;
  readonly #defaultAccess: AccessPolicy;
  readonly #countsQuotas: boolean;
  #completes = false;

  /** @throws ConfigurationError naming the option that is not as documented. */
  constructor(options: AuthenticatedToolRegistryOptions) {
    const {
      name,
      version,
      title,
      instructions,
      audit,
      clock = systemClock,
      onError = () => {},
      capabilities = [],
      defaultAccess = {},
    } = options;
    for (const [option, value] of Object.entries({ name, version })) {
      if (typeof value !== 'string' || value === '') throw new ConfigurationError(option, 'expected a non-empty string');
    }
    for (const [index, capability] of capabilities.entries()) {
      if (!CAPABILITIES.includes(capability)) {
        throw new ConfigurationError(`capabilities[${index}]`, `expected one of ${CAPABILITIES.join(', ')}, got '${capability}'`);
      }
    }
    this.#declared = new Set(capabilities);
    this.#countsQuotas = options.quotaStore !== undefined;
    this.#defaultAccess = new AccessPolicy(defaultAccess, 'defaultAccess');
    this.#audit = new AuditLog(audit, clock, onError);
    const decisionTimeoutMs = integer('decisionTimeoutMs', options.decisionTimeoutMs ?? 2_000, 1);
    if (options.decisionPoint !== undefined && typeof options.decisionPoint.decide !== 'function') {
      throw new ConfigurationError('decisionPoint', 'expected an object with a function decide');
    }
    const gatekeeper = new Gatekeeper({
      defaultAccess: this.#defaultAccess,
      roles: new RoleHierarchy(options.roles),
      clock,
      decisionPoint: options.decisionPoint && new DecisionClient(options.decisionPoint, decisionTimeoutMs, clock, onError),
    });
    const handler = new RegistryHandler({
      catalogs: this.#catalogs,
      hasCapability: (capability) => this.#has(capability),
      gatekeeper,
      quotas: options.quotaStore && new QuotaLedger(options.quotaStore, clock, onError),
      seal: options.requestState && new RequestStateSeal(options.requestState, clock),
      audit: this.#audit,
      clock,
      bounds: {
        maxArgumentBytes: integer('maxArgumentBytes', options.maxArgumentBytes ?? 1_048_576, 2),
        maxArgumentDepth: integer('maxArgumentDepth', options.maxArgumentDepth ?? 32, 1),
      },
      pageSize: integer('pageSize', options.pageSize ?? 100, 1),
      listTtlMs: integer('listTtlMs', options.listTtlMs ?? 0, 0),
      onError,
    });
    const capabilitiesNow = () => this.#capabilities();
    this.info = {
      name,
      version,
      ...(title === undefined ? {} : { title }),
      ...(instructions === undefined ? {} : { instructions }),
      get capabilities() {
        return capabilitiesNow();
      },
    };
    this.handler = (request, context) => handler.handle(request, context);
    this.events = this.#emitter;
    this.toolInputSchema = (tool, caller) => {
      const entry = this.#catalogs.tools.get(tool);
      return entry !== undefined && gatekeeper.allowsByRules(entry, caller) ? (entry.definition.inputSchema as JsonObject) : undefined;
    };
  }

  /**
   * Registers a tool.
   *
   * @throws ConfigurationError for a name that is taken (and not to be replaced) or not of 1 to 128 letters, digits, `_`, `-`, `.`;
   * a schema that is not one of an object; an `x-mcp-header` that clients would refuse; a bad access rule.
   */
  tool<I extends Schema = NoArguments, O extends Schema | undefined = undefined>(
    name: string,
    definition: ToolDefinition<I, O>,
    handler: ToolHandler<I, O>,
    options?: RegistrationOptions,
  ): Registration {
    const entry = toolEntry(name, definition, handler as ToolEntry['handler']);
    if (entry.quota !== undefined && !this.#countsQuotas)
      throw new ConfigurationError(`tool '${name}'.quota`, 'needs the option quotaStore');
    return this.#register('tool', this.#catalogs.tools, entry, options);
  }

  /**
   * Registers a resource under a fixed URI.
   *
   * @throws ConfigurationError for a URI that is taken (and not to be replaced) or relative, a definition without name, a bad
   * access rule or cache hint.
   */
  resource(uri: string, definition: FixedResourceDefinition, read: ResourceReader, options?: RegistrationOptions): Registration {
    const entry = resourceEntry(uri, definition, read, this.#defaultAccess);
    return this.#register('resource', this.#catalogs.resources, entry, options);
  }

  /**
   * Registers resources under a URI template (RFC 6570, levels 1 and 2). A URI is read by the fixed
   * resource of that URI, else by the template registered first that matches; there is no second try with
   * another one when the caller may not use it.
   *
   * @throws ConfigurationError as {@link resource} does, and for a template of a higher level.
   */
  resourceTemplate(
    uriTemplate: string,
    definition: ResourceTemplateDefinition,
    read: ResourceTemplateReader,
    options?: RegistrationOptions,
  ): Registration {
    const entry = resourceTemplateEntry(uriTemplate, definition, read, this.#defaultAccess);
    const registration = this.#register('resource template', this.#catalogs.templates, entry, options);
    this.#completes ||= entry.completers.size > 0;
    return registration;
  }

  /**
   * Registers a prompt.
   *
   * @throws ConfigurationError for a name that is taken (and not to be replaced) or empty, a schema that is not one of an object,
   * a completer of an argument that does not exist, a bad access rule.
   */
  prompt<A extends Schema = NoArguments>(
    name: string,
    definition: PromptDefinition<A>,
    handler: PromptHandler<A>,
    options?: RegistrationOptions,
  ): Registration {
    const entry = promptEntry(name, definition, handler as PromptEntry['handler']);
    const registration = this.#register('prompt', this.#catalogs.prompts, entry, options);
    this.#completes ||= entry.completers.size > 0;
    return registration;
  }

  /** Takes a tool out. Calls in progress end as they would have. Tells whether it was there. */
  removeTool(name: string): boolean {
    return this.#remove('tool', this.#catalogs.tools, name);
  }

  /** Takes the resource of this URI out. Tells whether it was there. */
  removeResource(uri: string): boolean {
    return this.#remove('resource', this.#catalogs.resources, uri);
  }

  /** Takes a resource template out. Tells whether it was there. */
  removeResourceTemplate(uriTemplate: string): boolean {
    return this.#remove('resource template', this.#catalogs.templates, uriTemplate);
  }

  /** Takes a prompt out. Tells whether it was there. */
  removePrompt(name: string): boolean {
    return this.#remove('prompt', this.#catalogs.prompts, name);
  }

  /**
   * Replaces the rules of an entry, for every decision from now on; calls in progress end as they would
   * have. The audit trail has the rules before and after.
   *
   * @param key - the tool's or prompt's name, the resource's URI or URI template.
   * @param access - absent: the registry's `defaultAccess`.
   * @returns whether there is such an entry.
   * @throws ConfigurationError for a bad access rule, and for one that shared caches would ignore.
   */
  setAccess(kind: EntryKind, key: string, access?: Access): boolean {
    const { tools, resources, templates, prompts } = this.#catalogs;
    const catalog = { tool: tools, resource: resources, 'resource template': templates, prompt: prompts }[kind];
    if (catalog === undefined) throw new ConfigurationError('kind', `expected ${Object.keys(CHANGED).join(', ')}, got '${String(kind)}'`);
    const entry: Registered | undefined = catalog.get(key);
    if (entry === undefined) return false;
    const at = `${kind} '${key}'`;
    const policy = ownPolicy(access, `${at}.access`);
    if (entry.cacheHint !== undefined) checkedCacheScope(entry.cacheHint.cacheScope, policy ?? this.#defaultAccess, at);
    const before = (entry.access ?? this.#defaultAccess).description;
    entry.access = policy;
    const after = (policy ?? this.#defaultAccess).description;
    this.#audit.record({ type: 'access.changed', outcome: 'succeeded', target: key, details: { kind, before, after } });
    this.#emitter.publish(CHANGED[kind]);
    return true;
  }

  /** Tells the subscribers of a resource that it has changed. */
  resourceUpdated(uri: string): void {
    this.#emitter.publish({ kind: 'resource_updated', uri });
  }

  #register<E extends Registered>(
    kind: EntryKind,
    catalog: Catalog<E>,
    entry: E,
    { replace = false }: RegistrationOptions = {},
  ): Registration {
    const replaced = catalog.add(entry, replace);
    if (replaced === undefined) this.#changed(kind, 'registered', entry);
    else this.#changed(kind, 'replaced', entry, replaced);
    return { remove: () => this.#remove(kind, catalog, entry.key, entry) };
  }

  #remove<E extends Registered>(kind: EntryKind, catalog: Catalog<E>, key: string, only?: E): boolean {
    const removed = catalog.remove(key, only);
    if (removed === undefined) return false;
    this.#changed(kind, 'removed', removed);
    return true;
  }

  #changed(kind: EntryKind, change: 'registered' | 'replaced' | 'removed', entry: Registered, previous?: Registered): void {
    const accessOf = ({ access }: Registered) => (access ?? this.#defaultAccess).description;
    const details = {
      kind,
      change,
      access: accessOf(entry),
      ...(entry.version === undefined ? {} : { version: entry.version }),
      ...(previous === undefined ? {} : { previousAccess: accessOf(previous) }),
      ...(previous?.version === undefined ? {} : { previousVersion: previous.version }),
    };
    this.#audit.record({ type: 'registry.changed', outcome: 'succeeded', target: entry.key, details });
    this.#emitter.publish(CHANGED[kind]);
  }

  #has(capability: RegistryCapability): boolean {
    const { tools, resources, templates, prompts } = this.#catalogs;
    switch (capability) {
      case 'tools':
        return this.#declared.has('tools') || tools.everUsed;
      case 'resources':
        return this.#declared.has('resources') || resources.everUsed || templates.everUsed;
      case 'prompts':
        return this.#declared.has('prompts') || prompts.everUsed;
      case 'completions':
        return this.#declared.has('completions') || this.#completes;
      case 'logging':
        return this.#declared.has('logging');
    }
  }

  #capabilities(): JsonObject {
    return {
      ...(this.#has('tools') ? { tools: { listChanged: true } } : {}),
      ...(this.#has('resources') ? { resources: { listChanged: true, subscribe: true } } : {}),
      ...(this.#has('prompts') ? { prompts: { listChanged: true } } : {}),
      ...(this.#has('completions') ? { completions: {} } : {}),
      ...(this.#has('logging') ? { logging: {} } : {}),
    };
  }
}

const CAPABILITIES: readonly RegistryCapability[] = ['tools', 'resources', 'prompts', 'completions', 'logging'];

function integer(option: string, value: number, least: number): number {
  if (!Number.isSafeInteger(value) || value < least)
    throw new ConfigurationError(option, `expected an integer from ${least}, got ${value}`);
  return value;
}
