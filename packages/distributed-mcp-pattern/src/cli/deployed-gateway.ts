import { auditTrail, FileAuditSink } from '@mcp-blocks/audit-trail';
import type { AuditSink, Clock, RpcHandler, RpcMiddleware, StateStore } from '@mcp-blocks/core';
import { encryptedWebSocket } from '@mcp-blocks/encrypted-websocket';
import { type HttpListener, http, oauthResourceServer, SecureMCPServer, type TokenVerifier } from '@mcp-blocks/secure-mcp-server';
import { createStateStore } from '@mcp-blocks/shared-state';
import { createGateway, type Gateway } from '../gateway/gateway.js';
import type { GatewayProblem } from '../gateway/problems.js';
import { anonymityGuard, following, grantCheck } from './authentication.js';
import type { GatewayFile } from './config/schema.js';
import { at } from './configuration-path.js';
import { Edition, type EditionChanges } from './edition.js';
import { errorText, type Log } from './log.js';
import { limitStoreOf } from './rate-limits.js';
import { keepFixedOptions } from './restart-options.js';

/** What a {@link DeployedGateway} works with. */
export interface DeployedGatewayOptions {
  readonly file: GatewayFile;
  readonly log: Log;
  readonly clock: Clock;
}

/** How long the gateway waits for its services before it serves without them. */
const START_WAIT_MS = 10_000;
const DRAIN_DEADLINE_MS = 30_000;

/** What is open as long as the gateway. */
interface Resources {
  readonly audit: AuditSink | undefined;
  readonly state: StateStore | undefined;
}

/** A gateway made from a configuration file: server, federation and clusters. What may change does while it runs. */
export class DeployedGateway {
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #resources: Resources;
  readonly #gateway: Gateway;
  readonly #listener: HttpListener;
  readonly #server: SecureMCPServer;
  readonly #retiring = new Set<Edition>();
  #edition: Edition;
  #closed: Promise<void> | undefined;

  private constructor(edition: Edition, resources: Resources, listener: HttpListener, { log, clock }: DeployedGatewayOptions) {
    this.#edition = edition;
    this.#resources = resources;
    this.#listener = listener;
    this.#log = log;
    this.#clock = clock;
    const { file } = edition;
    const { name = 'gateway', version = '1.0.0', title, instructions, openCalls, audit: trail } = file;
    this.#gateway = at('', () =>
      createGateway({
        info: { name, version, ...(title === undefined ? {} : { title }), ...(instructions === undefined ? {} : { instructions }) },
        ...federationOf(edition),
        ...(openCalls === undefined ? {} : { openCalls }),
        onProblem: (problem) => this.#tell(problem),
        clock,
      }),
    );
    const { audit } = resources;
    const callers = () => this.#edition.callers;
    const middleware: RpcMiddleware[] = [grantCheck(callers), this.#limits];
    if (audit !== undefined && trail !== undefined) {
      const { arguments: shown, required } = trail;
      const options = { ...(shown === undefined ? {} : { arguments: shown }), ...(required === undefined ? {} : { required }) };
      const onError = (error: Error) => log.repeated('a call was not recorded', {}, { error: errorText(error) });
      middleware.unshift(auditTrail({ sink: audit, ...options, onError, clock }));
    }
    this.#server = at('', () => {
      return new SecureMCPServer({
        service: this.#gateway,
        middleware,
        authenticators: [
          following('first', () => callers().first),
          ...this.#oauth(file),
          following('last', () => callers().last),
          anonymityGuard(callers),
        ],
        // The guard refuses whom the configuration of the moment does not let in.
        allowAnonymous: true,
        listeners: [listener],
        ...(audit === undefined ? {} : { audit }),
        ...(file.limits === undefined ? {} : { limits: file.limits }),
        clock,
        onError: (error) => log.error('a request failed unexpectedly', { error: errorText(error), stack: error.stack ?? '' }),
      });
    });
  }

  /** @throws ConfigurationError naming the option of the file; nothing is left open then. */
  static async make(options: DeployedGatewayOptions): Promise<DeployedGateway> {
    const { file, log, clock } = options;
    const { audit, state } = file;
    const onError = (error: Error) => log.repeated('the audit trail cannot be written', {}, { error: errorText(error) });
    const opened: { close(): Promise<void> }[] = [];
    const own = <T extends { close(): Promise<void> } | undefined>(part: T): T => {
      if (part !== undefined) opened.push(part);
      return part;
    };
    try {
      const trail = own(audit && at('audit', () => new FileAuditSink({ path: audit.path, ...rotationOf(audit), onError, clock })));
      const store = own(state && (await createStateStore(state)));
      const edition = own(await Edition.make(file, { audit: trail, state: store, log, clock }));
      return new DeployedGateway(edition, { audit: trail, state: store }, await listenerOf(file, store), options);
    } catch (error) {
      for (const part of opened.reverse()) await part.close();
      throw error;
    }
  }

  /** Finds out whether a file can be used, without opening anything. @throws ConfigurationError naming the option of the file. */
  static async check(options: DeployedGatewayOptions): Promise<void> {
    const { file, log, clock } = options;
    // Redis would be connected to.
    limitStoreOf(file);
    const { state: _state, ...alone } = file;
    const rateLimits = file.rateLimits && { ...file.rateLimits, store: 'memory' as const };
    const { insurance: _insurance, ...limits } = rateLimits ?? { limits: [] };
    const edition = await Edition.make(
      { ...alone, ...(rateLimits === undefined ? {} : { rateLimits: limits }) },
      { audit: undefined, state: undefined, log, clock },
    );
    try {
      new DeployedGateway(edition, { audit: undefined, state: undefined }, await listenerOf(file, undefined), options);
    } finally {
      await edition.close();
    }
  }

  /** Where the gateway can be reached. */
  get endpoints(): readonly string[] {
    return this.#server.endpoints;
  }

  get services(): readonly string[] {
    return [...this.#edition.services.keys()];
  }

  /** Resolves when it serves; services that are not there yet come later. */
  async start(): Promise<void> {
    await this.#edition.start(START_WAIT_MS);
    await this.#server.start();
  }

  /**
   * Goes on with another configuration: calls, connections and subscriptions live on. What belongs to open ports
   * and files stays as it was; it is among `ignored`.
   *
   * @throws ConfigurationError naming the option of the file; nothing has changed then.
   */
  async reload(next: GatewayFile): Promise<EditionChanges & { readonly ignored: readonly string[] }> {
    const before = this.#edition;
    const { file, ignored } = keepFixedOptions(before.file, next);
    const edition = await Edition.make(file, { ...this.#resources, log: this.#log, clock: this.#clock }, before);
    await edition.start(START_WAIT_MS);
    if (this.#closed !== undefined) {
      await edition.close();
      throw new Error('The gateway has ended meanwhile');
    }
    this.#edition = edition;
    this.#gateway.update(federationOf(edition));
    this.#retiring.add(before);
    const retired = () => this.#retiring.delete(before);
    void before.retire(edition).then(retired, (error: unknown) => {
      retired();
      this.#log.error('a removed service could not be closed', { error: errorText(error) });
    });
    return { ...edition.changesSince(before), ignored };
  }

  /** Reads the files of the certificate again. @throws ConfigurationError */
  reloadTls(): void {
    if (this.#edition.file.listen.tls !== undefined) at('listen', () => this.#listener.reloadTls(), 'http');
  }

  /** Takes nothing new and lets what runs finish, as long as the configuration says; then ends everything. */
  async drain(): Promise<void> {
    await this.#server.drain(this.#edition.file.drainDeadlineMs ?? DRAIN_DEADLINE_MS);
    await this.close();
  }

  /** Ends everything now. Idempotent. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    await this.#server.stop();
    await this.#gateway.close();
    await Promise.all([this.#edition, ...this.#retiring].map((edition) => edition.close()));
    await this.#resources.audit?.close();
    await this.#resources.state?.close();
  }

  /** The limits of the moment. */
  readonly #limits: RpcMiddleware = (next) => {
    const limited = new WeakMap<object, RpcHandler>();
    return (request, context) => {
      const { limiter } = this.#edition;
      if (limiter === undefined) return next(request, context);
      const handler = limited.get(limiter) ?? limiter.value.middleware(next);
      limited.set(limiter, handler);
      return limiter.run(() => handler(request, context));
    };
  };

  #oauth({ authentication: { oauth } }: GatewayFile) {
    const { verifier } = this.#edition.callers;
    if (oauth === undefined || verifier === undefined) return [];
    const { jwt: _jwt, introspection: _introspection, ...options } = oauth;
    const following: TokenVerifier = {
      name: verifier.name,
      audiences: verifier.audiences,
      authenticate: async (request) => this.#edition.callers.verifier?.authenticate(request),
    };
    return [at('authentication.oauth', () => oauthResourceServer({ ...options, verifier: following }), 'oauthResourceServer')];
  }

  #tell(problem: GatewayProblem): void {
    if (problem.kind === 'unreachable') {
      const { service, method, error } = problem;
      this.#log.repeated('a service does not answer', { service }, { method, error: errorText(error) });
    } else if (problem.kind === 'collision') {
      const { method, name, keptBy, refusedFrom } = problem;
      this.#log.repeated('a name is offered twice', { method, name, keptBy, refusedFrom });
    } else {
      const { method, service, name } = problem;
      this.#log.repeated('a service lists what is not of the protocol', { method, service, name });
    }
  }
}

function federationOf({ file, services }: Edition) {
  const { collision = 'refuse', listTtlMs = 1_000, listTimeoutMs = 5_000 } = file;
  return { services: Object.fromEntries(services), collision, listTtlMs, listTimeoutMs };
}

function rotationOf({ path: _path, arguments: _arguments, required: _required, ...rotation }: NonNullable<GatewayFile['audit']>) {
  return rotation;
}

async function listenerOf({ listen }: GatewayFile, store: StateStore | undefined): Promise<HttpListener> {
  const { webSocket, metrics, sessions, ...options } = listen;
  const upgrades = webSocket === undefined ? [] : [at('listen.webSocket', () => encryptedWebSocket(webSocket))];
  const page = metrics === undefined ? undefined : (await import('@mcp-blocks/secure-mcp-server/prometheus')).prometheus;
  return at(
    'listen',
    () =>
      http({
        ...options,
        upgrades,
        sessions: { ...sessions, ...(store === undefined ? {} : { store }) },
        ...(page === undefined || metrics === undefined ? {} : { metrics: at('metrics', () => page(metrics), 'prometheus') }),
      }),
    'http',
  );
}
