import type { Clock, ServiceNode } from '@mcp-blocks/core';
import { z } from 'zod';
import { linesOf, type RegistryHttp, RegistryRefusal } from './registry-http.js';
import { serviceNodeSchema } from './service-node-schema.js';
import type { ServiceFollower } from './service-watches.js';

/** What {@link KubernetesFollower} works with. */
export interface KubernetesFollowerOptions {
  readonly http: RegistryHttp;
  headers(): Promise<Readonly<Record<string, string>>>;
  readonly namespace: string;
  readonly service: string;
  readonly port: string | number | undefined;
  readonly scheme: string;
  readonly path: string;
  readonly clock: Clock;
  readonly onError: (error: Error) => void;
}

const sliceSchema = z.object({
  metadata: z.object({ name: z.string(), resourceVersion: z.string().optional() }),
  endpoints: z
    .array(
      z.object({
        addresses: z.array(z.string()).min(1),
        conditions: z.object({ ready: z.boolean().nullish() }).nullish(),
        zone: z.string().nullish(),
        targetRef: z.object({ name: z.string().optional() }).nullish(),
      }),
    )
    .nullish(),
  ports: z.array(z.object({ name: z.string().nullish(), port: z.int().nullish() })).nullish(),
});
const listSchema = z.object({ metadata: z.object({ resourceVersion: z.string() }), items: z.array(sliceSchema).nullish() });
const eventSchema = z.object({
  type: z.enum(['ADDED', 'MODIFIED', 'DELETED', 'BOOKMARK', 'ERROR']),
  object: z.looseObject({
    code: z.int().optional(),
    message: z.string().optional(),
    metadata: z.looseObject({ resourceVersion: z.string().optional() }).optional(),
  }),
});
type Slice = z.output<typeof sliceSchema>;

/** The API server ends a watch after this long, and it is opened again where it was. */
const WATCH_SECONDS = 240;
/** A watch of which nothing came for this much longer is dead. */
const WATCH_GRACE_MS = 30_000;

/** The EndpointSlices of one Service by list and watch (Kubernetes API concepts, "Efficient detection of changes"). */
export class KubernetesFollower implements ServiceFollower {
  readonly #options: KubernetesFollowerOptions;
  readonly #path: string;
  readonly #slices = new Map<string, Slice>();
  #list: readonly ServiceNode[] = [];
  /** Where the watch is; `undefined` when the slices must be listed again. */
  #version: string | undefined;
  #watch: { readonly lines: AsyncGenerator<string>; stop(): void } | undefined;

  constructor(options: KubernetesFollowerOptions) {
    this.#options = options;
    const selector = encodeURIComponent(`kubernetes.io/service-name=${options.service}`);
    this.#path = `/apis/discovery.k8s.io/v1/namespaces/${options.namespace}/endpointslices?labelSelector=${selector}`;
  }

  async next(signal: AbortSignal): Promise<readonly ServiceNode[]> {
    if (this.#version === undefined) return await this.#listAll(signal);
    try {
      this.#watch ??= await this.#open(this.#version, signal);
      const { done, value: line } = await this.#watch.lines.next();
      if (done) this.close();
      else this.#take(eventSchema.parse(JSON.parse(line)));
    } catch (error) {
      this.close();
      if (!(error instanceof RegistryRefusal && error.status === 410)) throw error;
      this.#version = undefined;
    }
    return this.#list;
  }

  close(): void {
    this.#watch?.stop();
    this.#watch = undefined;
  }

  async #listAll(signal: AbortSignal): Promise<readonly ServiceNode[]> {
    const { http, headers } = this.#options;
    const { body } = await http.request({ path: this.#path, headers: await headers(), signal });
    const { metadata, items } = listSchema.parse(body);
    this.#slices.clear();
    for (const slice of items ?? []) this.#slices.set(slice.metadata.name, slice);
    this.#version = metadata.resourceVersion;
    return this.#update();
  }

  async #open(version: string, signal: AbortSignal) {
    const { http, headers, clock } = this.#options;
    const stop = new AbortController();
    const cancelTimeout = clock.setTimeout(() => stop.abort(new Error('The watch was silent')), WATCH_SECONDS * 1000 + WATCH_GRACE_MS);
    const end = () => {
      cancelTimeout();
      stop.abort();
    };
    const path = `${this.#path}&watch=true&allowWatchBookmarks=true&timeoutSeconds=${WATCH_SECONDS}&resourceVersion=${encodeURIComponent(version)}`;
    try {
      const response = await http.open({ path, headers: await headers(), signal: AbortSignal.any([signal, stop.signal]) });
      return { lines: linesOf(response), stop: end };
    } catch (error) {
      end();
      throw error;
    }
  }

  #take({ type, object }: z.output<typeof eventSchema>): void {
    if (type === 'ERROR') {
      this.close();
      if (object.code !== 410) throw new Error(`Kubernetes ended the watch: ${object.message ?? object.code}`);
      this.#version = undefined;
      return;
    }
    this.#version = object.metadata?.resourceVersion ?? this.#version;
    if (type === 'BOOKMARK') return;
    const slice = sliceSchema.parse(object);
    if (type === 'DELETED') this.#slices.delete(slice.metadata.name);
    else this.#slices.set(slice.metadata.name, slice);
    this.#update();
  }

  #update(): readonly ServiceNode[] {
    // By id: while endpoints move between slices, one may be in two (EndpointSlices, "Duplicate endpoints").
    const nodes = new Map<string, ServiceNode>();
    for (const slice of this.#slices.values()) for (const node of this.#nodesOf(slice)) nodes.set(node.id, node);
    const list = [...nodes.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
    if (JSON.stringify(list) !== JSON.stringify(this.#list)) this.#list = list;
    return this.#list;
  }

  #nodesOf(slice: Slice): ServiceNode[] {
    const { scheme, path, onError } = this.#options;
    // Not said counts as ready (EndpointConditions).
    const ready = (slice.endpoints ?? []).filter(({ conditions }) => conditions?.ready !== false);
    if (ready.length === 0) return [];
    const port = this.#portOf(slice);
    if (port instanceof Error) {
      onError(port);
      return [];
    }
    return ready.flatMap(({ addresses: [address = ''], zone, targetRef }) => {
      const host = address.includes(':') ? `[${address}]` : address;
      const node = serviceNodeSchema.safeParse({
        id: targetRef?.name ?? `${host}:${port}`,
        url: `${scheme}://${host}:${port}${path}`,
        ...(zone ? { region: zone } : {}),
      });
      if (node.success) return [node.data as ServiceNode];
      onError(new Error(`An endpoint of the EndpointSlice '${slice.metadata.name}' is not a node: ${node.error.issues[0]?.message}`));
      return [];
    });
  }

  #portOf(slice: Slice): number | Error {
    const { port: wanted } = this.#options;
    const ports = slice.ports ?? [];
    const found = wanted === undefined ? ports : ports.filter(({ name, port }) => name === wanted || port === wanted);
    const [first, second] = found;
    const problem = `The EndpointSlice '${slice.metadata.name}'`;
    if (first?.port == null) return new Error(`${problem} has no port ${wanted ?? ''}`.trimEnd());
    return second === undefined ? first.port : new Error(`${problem} has several ports; say which in the option port`);
  }
}
