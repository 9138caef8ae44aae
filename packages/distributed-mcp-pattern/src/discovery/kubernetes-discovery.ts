import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Clock, ConfigurationError, type Discovery, type Random, RpcError, type ServiceNode, systemClock } from '@mcp-blocks/core';
import { z } from 'zod';
import { callable, machineOptions, parseOptions } from '../option-schemas.js';
import { KubernetesFollower } from './kubernetes-follower.js';
import { RegistryHttp, RegistryRefusal, type RegistryTls, registryHttpOptions } from './registry-http.js';
import { ServiceWatches } from './service-watches.js';

/** Options of {@link KubernetesDiscovery}. Without `server` it works inside a pod, with the pod's service account. */
export interface KubernetesDiscoveryOptions {
  /** URL of the API server. Default: that of the cluster the process runs in. */
  readonly server?: string;
  /** Default: the pod's own. */
  readonly namespace?: string;
  /** Bearer token; a function is asked before each request. Default: the pod's, read anew each time since it is renewed. */
  readonly token?: string | (() => string | Promise<string>);
  /** Default: the authority of the pod's service account. */
  readonly tls?: RegistryTls;
  /** Which of the service's ports: a name or a number. Default: the only one. */
  readonly port?: string | number;
  /** Default: `http`. */
  readonly scheme?: 'http' | 'https' | 'ws' | 'wss';
  /** Default: `/mcp`. */
  readonly path?: string;
  /** Milliseconds one request may take, watches aside. Default: 5,000. */
  readonly requestTimeoutMs?: number;
  /** Where a pod's service account is. Default: `/var/run/secrets/kubernetes.io/serviceaccount`. */
  readonly serviceAccountFolder?: string;
  readonly clock?: Clock;
  /** Random numbers in [0, 1), for the pauses between attempts. Default: `Math.random`. */
  readonly random?: Random;
}

const optionsSchema = z.strictObject({
  ...machineOptions,
  server: z.string().optional(),
  namespace: z
    .string()
    .regex(/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/, 'expected a DNS label (RFC 1123)')
    .optional(),
  port: z.union([z.string().min(1), z.int().min(1).max(65_535)], 'expected the name or number of a port').optional(),
  scheme: z.enum(['http', 'https', 'ws', 'wss'], 'expected http, https, ws or wss').default('http'),
  path: z.string().startsWith('/', "expected a path such as '/mcp'").default('/mcp'),
  token: z.union([z.string(), callable<() => string | Promise<string>>()], 'expected a string or a function').optional(),
  tls: registryHttpOptions.tls,
  requestTimeoutMs: registryHttpOptions.requestTimeoutMs,
  serviceAccountFolder: z.string().default('/var/run/secrets/kubernetes.io/serviceaccount'),
});

/**
 * Nodes of a Kubernetes Service: the ready endpoints in its EndpointSlices (`discovery.k8s.io/v1`), listed
 * once and then followed by a watch with bookmarks; listed again when the API server has forgotten where the
 * watch was (410). A node's id is its pod's name, its region the zone. The process needs the right to `list`
 * and `watch` `endpointslices` in the namespace.
 */
export class KubernetesDiscovery implements Discovery {
  readonly #http: RegistryHttp;
  readonly #options: z.output<typeof optionsSchema> & { readonly namespace: string };
  readonly #token: () => string | Promise<string>;
  readonly #clock: Clock;
  readonly #watches: ServiceWatches;

  /** @throws ConfigurationError for values out of range, and outside a pod for what is then missing. */
  constructor(options: KubernetesDiscoveryOptions = {}) {
    const data = parseOptions(optionsSchema, options);
    const inPod = options.server === undefined;
    const account = (file: string) => join(data.serviceAccountFolder, file);
    const { token, requestTimeoutMs } = options;
    this.#options = {
      ...data,
      namespace: data.namespace ?? required('namespace', () => readFileSync(account('namespace'), 'utf8').trim()),
    };
    this.#token =
      typeof token === 'function'
        ? token
        : token === undefined && inPod
          ? async () => (await readFile(account('token'), 'utf8')).trim()
          : () => token ?? '';
    const tls = options.tls ?? (inPod ? { ca: required('tls.ca', () => readFileSync(account('ca.crt'))) } : undefined);
    this.#http = new RegistryHttp('Kubernetes', {
      endpoints: [options.server ?? required('server', ownCluster)],
      ...(tls === undefined ? {} : { tls }),
      ...(requestTimeoutMs === undefined ? {} : { requestTimeoutMs }),
    });
    this.#clock = options.clock ?? systemClock;
    this.#watches = new ServiceWatches(this.#clock, options.random ?? Math.random);
  }

  async nodes(service: string): Promise<readonly ServiceNode[]> {
    return await this.#refused(() => this.#follower(service, () => {}).next(AbortSignal.any([])));
  }

  async watch(
    service: string,
    onChange: (nodes: readonly ServiceNode[]) => void,
    onError: (error: Error) => void = () => {},
  ): Promise<() => Promise<void>> {
    return await this.#refused(() => this.#watches.start(this.#follower(service, onError), onChange, onError));
  }

  /** Ends every watch. */
  async close(): Promise<void> {
    await this.#watches.close();
    this.#http.close();
  }

  #follower(service: string, onError: (error: Error) => void): KubernetesFollower {
    const { namespace, port, scheme, path } = this.#options;
    const headers = async () => {
      const token = await this.#token();
      return token === '' ? {} : { authorization: `Bearer ${token}` };
    };
    return new KubernetesFollower({ http: this.#http, headers, namespace, service, port, scheme, path, clock: this.#clock, onError });
  }

  /** To callers a refusal of the API server is that the registry cannot be asked; why is in the message. */
  async #refused<T>(ask: () => Promise<T>): Promise<T> {
    try {
      return await ask();
    } catch (error) {
      if (error instanceof RegistryRefusal) throw new RpcError('unavailable', error.message, { cause: error });
      throw error;
    }
  }
}

function ownCluster(): string {
  const host = process.env['KUBERNETES_SERVICE_HOST'] ?? '';
  if (host === '') throw new Error('KUBERNETES_SERVICE_HOST is not set');
  return `https://${host.includes(':') ? `[${host}]` : host}:${process.env['KUBERNETES_SERVICE_PORT_HTTPS'] ?? '443'}`;
}

function required<T>(option: string, find: () => T): T {
  try {
    return find();
  } catch (error) {
    throw new ConfigurationError(option, `required outside a Kubernetes pod (${(error as Error).message})`);
  }
}
