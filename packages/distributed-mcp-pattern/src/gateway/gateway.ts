import {
  type Clock,
  ConfigurationError,
  isJsonObject,
  isRpcError,
  type JsonObject,
  type RpcContext,
  RpcError,
  type RpcRequest,
  type RpcResult,
  type RpcService,
  type ServiceInfo,
  systemClock,
} from '@mcp-blocks/core';
import type { DirectoryEntry } from './directory.js';
import { FederatedLists, type GatewaySource, type ListMethod } from './federated-lists.js';
import { GatewayEvents } from './gateway-events.js';
import { OpenCalls, type OpenCallsOptions } from './open-calls.js';
import type { GatewayProblem } from './problems.js';
import { ResourceWatches } from './resource-watches.js';
import { mayMatch } from './template-match.js';

/** A gateway: a service that owns the calls which wait for their callers' answers, and what it watches for them. */
export interface Gateway extends RpcService {
  /**
   * Goes on with other services; what is not given stays as it is. Calls in progress end where they are, those
   * that wait for their callers' answers and what callers have subscribed to live on, and listeners are told that
   * the lists have changed. The services left out stay their owner's, who closes them when no call needs them.
   *
   * @throws ConfigurationError for an option that is wrong; nothing has changed then.
   */
  update(changes: GatewayChanges): void;
  /** Ends both. The services stay as they are. Idempotent. */
  close(): Promise<void>;
}

/** What {@link Gateway.update} can change. */
export type GatewayChanges = Partial<Pick<GatewayOptions, 'services' | 'collision' | 'listTtlMs' | 'listTimeoutMs'>>;

/** Options of {@link createGateway}. */
export interface GatewayOptions {
  /** How the gateway presents itself. Its capabilities are tools, resources, prompts, completions and logging. */
  readonly info: Omit<ServiceInfo, 'capabilities'>;
  /** The services by name, in order of precedence. Names are letters, digits and `-`. */
  readonly services: Readonly<Record<string, GatewaySource>>;
  /**
   * What happens to names of tools and prompts. `refuse` (default): they stay as they are, and of two equal
   * ones the service that comes first in `services` keeps it; the other is left out and reported.
   * `prefix`: every name becomes `<service>__<name>`. URIs of resources always follow `refuse`.
   */
  readonly collision?: 'refuse' | 'prefix';
  /** How long a principal's merged list is used again, in milliseconds; 0 or more. Default: 1,000. */
  readonly listTtlMs?: number;
  /** How long a list waits for a service before it goes without, in milliseconds; 1 or more. Default: 5,000. */
  readonly listTimeoutMs?: number;
  /** Bounds of calls in which a legacy server waits for what a modern caller answers. */
  readonly openCalls?: OpenCallsOptions;
  /** Told of what is left out of answers. */
  readonly onProblem?: (problem: GatewayProblem) => void;
  readonly clock?: Clock;
}

/**
 * Several services as one: lists are merged, calls go to the service that owns the name, reads to the one
 * that owns the URI. Every request goes on with the caller's principal, never with the caller's token.
 *
 * A service that does not answer is missing from lists and harms no call to another one.
 *
 * @throws ConfigurationError for an option that is wrong.
 */
export function createGateway(options: GatewayOptions): Gateway {
  const gateway = new FederatedService(options);
  return {
    info: { ...options.info, capabilities: CAPABILITIES },
    handler: (request, context) => gateway.handle(request, context),
    toolInputSchema: (name, { principal }) => gateway.lists.toolInputSchema(name, principal),
    events: gateway.events,
    update: (changes) => gateway.update(changes),
    close: async () => gateway.close(),
  };
}

const CAPABILITIES: JsonObject = {
  tools: { listChanged: true },
  resources: { listChanged: true, subscribe: true },
  prompts: { listChanged: true },
  completions: {},
  logging: {},
};

type FederationOptions = Required<GatewayChanges> & Required<Pick<GatewayOptions, 'onProblem' | 'clock'>>;

class FederatedService {
  readonly events: GatewayEvents;
  readonly #openCalls: OpenCalls;
  readonly #watches: ResourceWatches;
  #options: FederationOptions;
  #services: ReadonlyMap<string, GatewaySource>;
  #lists: FederatedLists;

  constructor({
    services,
    collision = 'refuse',
    listTtlMs = 1_000,
    listTimeoutMs = 5_000,
    openCalls = {},
    onProblem = () => {},
    clock = systemClock,
  }: GatewayOptions) {
    this.#options = { services, collision, listTtlMs, listTimeoutMs, onProblem, clock };
    this.#services = checked(this.#options);
    this.#openCalls = new OpenCalls(openCalls, clock);
    this.#lists = this.#newLists();
    this.events = new GatewayEvents([...this.#services.values()], clock, (event) => this.#lists.invalidate(event));
    this.#watches = new ResourceWatches((event) => this.events.publish(event));
  }

  get lists(): FederatedLists {
    return this.#lists;
  }

  update(changes: GatewayChanges): void {
    const options = { ...this.#options, ...changes };
    const services = checked(options);
    const renamed = options.collision !== this.#options.collision;
    const same = sameServices(this.#services, services) && !renamed;
    this.#options = options;
    this.#services = services;
    this.#lists = this.#newLists(renamed ? undefined : this.#lists);
    if (same) return;
    this.#watches.update(services);
    this.events.update([...services.values()]);
  }

  close(): void {
    this.#openCalls.close();
    this.#watches.close();
    this.events.close();
  }

  handle(request: RpcRequest, context: RpcContext): Promise<RpcResult> {
    return this.#openCalls.run(request, context, (own) => this.#handle(request, own));
  }

  async #handle({ method, params }: RpcRequest, context: RpcContext): Promise<RpcResult> {
    switch (method) {
      case 'tools/list':
      case 'prompts/list':
      case 'resources/list':
      case 'resources/templates/list':
        // A merged list is one page: no cursor was ever given out.
        if (params.cursor !== undefined) throw new RpcError('invalid_params', 'cursor: not one of this server');
        return this.#lists.list(method, context);
      case 'tools/call':
        return this.#callByName('tools/list', 'tool', method, params, context);
      case 'prompts/get':
        return this.#callByName('prompts/list', 'prompt', method, params, context);
      case 'resources/read':
        return this.#atOwner(params, context, (service) => this.#send(service, 'resources/read', params, context));
      case 'resources/subscribe':
        return this.#atOwner(params, context, async (service, uri) => {
          await this.#watches.subscribe(service, this.#source(service), uri, context);
          return {};
        });
      case 'resources/unsubscribe':
        if (typeof params.uri === 'string') this.#watches.unsubscribe(this.#services.keys(), params.uri, context);
        return {};
      case 'completion/complete':
        return this.#complete(params, context);
      default:
        throw new RpcError('method_not_found', `This server has no method ${method}`);
    }
  }

  async #callByName(list: ListMethod, what: string, method: string, params: JsonObject, context: RpcContext): Promise<RpcResult> {
    const owner = await this.#owner(list, what, params.name, context);
    return this.#send(owner.service, method, { ...params, name: owner.name }, context);
  }

  async #owner(list: ListMethod, what: string, name: unknown, context: RpcContext): Promise<DirectoryEntry> {
    if (typeof name !== 'string') throw new RpcError('invalid_params', 'name: expected a string');
    const owner = await this.#lists.find(list, name, context);
    if (owner === undefined) throw new RpcError('invalid_params', `Unknown ${what}: ${name}`);
    return owner;
  }

  /** At the service that lists the URI, else at those with a matching template, else at each in turn. */
  async #atOwner({ uri }: JsonObject, context: RpcContext, run: (service: string, uri: string) => Promise<RpcResult>): Promise<RpcResult> {
    if (typeof uri !== 'string') throw new RpcError('invalid_params', 'uri: expected a string');
    const listed = this.#lists.known('resources/list', uri) ?? (await this.#afterListing(uri, context));
    if (listed !== undefined) return run(listed.service, uri);
    const matching = this.#matching(uri);
    const candidates = matching.length > 0 ? matching : [...this.#services.keys()];
    let failure: unknown;
    for (const service of candidates) {
      try {
        return await run(service, uri);
      } catch (error) {
        // Another service may have it; an answer other than "not here" is worth more than that one.
        if (!isNotHere(error)) failure ??= error;
      }
    }
    throw failure ?? new RpcError('resource_not_found', `Unknown resource: ${uri}`, { data: { uri } });
  }

  async #afterListing(uri: string, context: RpcContext): Promise<DirectoryEntry | undefined> {
    await Promise.allSettled([this.#lists.list('resources/list', context), this.#lists.list('resources/templates/list', context)]);
    return this.#lists.known('resources/list', uri);
  }

  #matching(uri: string): string[] {
    const services = new Set<string>();
    for (const [template, { service }] of this.#lists.all('resources/templates/list')) {
      if (mayMatch(template, uri)) services.add(service);
    }
    return [...services];
  }

  async #complete(params: JsonObject, context: RpcContext): Promise<RpcResult> {
    const ref = isJsonObject(params.ref) ? params.ref : {};
    if (ref.type === 'ref/prompt') {
      const owner = await this.#owner('prompts/list', 'prompt', ref.name, context);
      return this.#send(owner.service, 'completion/complete', { ...params, ref: { ...ref, name: owner.name } }, context);
    }
    if (ref.type === 'ref/resource' && typeof ref.uri === 'string') {
      const owner = this.#lists.known('resources/list', ref.uri) ?? (await this.#lists.find('resources/templates/list', ref.uri, context));
      if (owner === undefined) throw new RpcError('invalid_params', `Unknown resource template: ${ref.uri}`);
      return this.#send(owner.service, 'completion/complete', params, context);
    }
    throw new RpcError('invalid_params', 'ref: expected a ref/prompt with name or a ref/resource with uri');
  }

  async #send(service: string, method: string, params: JsonObject, context: RpcContext): Promise<RpcResult> {
    return this.#source(service).route(method, params, { context });
  }

  #newLists(before?: FederatedLists): FederatedLists {
    const { collision, listTtlMs: ttlMs, listTimeoutMs: timeoutMs, clock, onProblem } = this.#options;
    return new FederatedLists({ services: this.#services, collision, ttlMs, timeoutMs, clock, onProblem }, before);
  }

  #source(service: string): GatewaySource {
    const source = this.#services.get(service);
    if (source === undefined) throw new RpcError('unavailable', `The service ${service} has been removed`);
    return source;
  }
}

function checked({ services, collision, listTtlMs, listTimeoutMs }: FederationOptions): ReadonlyMap<string, GatewaySource> {
  const byName = new Map(Object.entries(services));
  if (byName.size === 0) throw new ConfigurationError('services', 'expected at least one service');
  for (const name of byName.keys()) {
    if (!/^[A-Za-z0-9-]+$/.test(name)) throw new ConfigurationError(`services.${name}`, 'expected a name of letters, digits and -');
  }
  if (collision !== 'refuse' && collision !== 'prefix') {
    throw new ConfigurationError('collision', `expected refuse or prefix, got ${JSON.stringify(collision)}`);
  }
  if (!(listTtlMs >= 0)) throw new ConfigurationError('listTtlMs', `expected 0 or more, got ${listTtlMs}`);
  if (!(listTimeoutMs >= 1)) throw new ConfigurationError('listTimeoutMs', `expected 1 or more, got ${listTimeoutMs}`);
  return byName;
}

/** Whether both have the same services by the same names in the same order, which is that of precedence. */
function sameServices(before: ReadonlyMap<string, GatewaySource>, after: ReadonlyMap<string, GatewaySource>): boolean {
  const entries = [...after];
  return (
    before.size === after.size && [...before].every(([name, source], index) => entries[index]?.[0] === name && entries[index][1] === source)
  );
}

/** How services say that they do not have a resource, in both revisions. */
function isNotHere(error: unknown): boolean {
  return isRpcError(error) && (error.code === 'resource_not_found' || error.code === 'invalid_params' || error.code === 'method_not_found');
}
