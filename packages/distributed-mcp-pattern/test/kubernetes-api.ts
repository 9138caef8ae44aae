import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

type Slice = { metadata: { name: string; labels: Record<string, string>; resourceVersion?: string } } & Record<string, unknown>;
type Event = { readonly type: string; readonly object: Slice };

/**
 * A stand-in for the Kubernetes API server: the EndpointSlices of `discovery.k8s.io/v1` with create, delete,
 * list, and watch with resource versions, bookmarks and 410 as Kubernetes documents them ("API Concepts").
 */
export class KubernetesApiStandIn {
  readonly #slices = new Map<string, Slice>();
  readonly #watches = new Set<{ send(event: unknown): void; readonly selector: string; response: ServerResponse }>();
  readonly #server = createServer((request, response) => void this.#answer(request, response));
  #version = 100;
  #history: { readonly version: number; readonly event: Event }[] = [];
  /** Versions up to this one are forgotten. */
  #forgotten = 0;
  /** What requests must bear; none if empty. */
  token = '';
  /** Requests for lists so far. */
  lists = 0;

  async start(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Ends the open watches, as an API server does after their time. */
  endWatches(): void {
    for (const { response } of this.#watches) response.end();
  }

  /** Sends every open watch an event. */
  tell(event: unknown): void {
    for (const watch of this.#watches) watch.send(event);
  }

  get openWatches(): number {
    return this.#watches.size;
  }

  /** Where a client would have to be to know everything. */
  get version(): string {
    return String(this.#version);
  }

  /** Forgets the history. */
  forget(): void {
    this.#history = [];
    this.#forgotten = this.#version;
  }

  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#server.closeAllConnections();
    await closed;
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '', 'http://api');
    const [, name] = /^\/apis\/discovery\.k8s\.io\/v1\/namespaces\/default\/endpointslices(?:\/(.+))?$/.exec(url.pathname) ?? [];
    const fail = (code: number, message: string) =>
      response.writeHead(code, { 'content-type': 'application/json' }).end(JSON.stringify({ kind: 'Status', code, message }));
    if (this.token !== '' && request.headers.authorization !== `Bearer ${this.token}`) return void fail(401, 'Unauthorized');
    if (!url.pathname.startsWith('/apis/discovery.k8s.io/v1/namespaces/default/endpointslices')) return void fail(404, 'not found');
    if (request.method === 'POST') return this.#write('ADDED', JSON.parse(await bodyOf(request)) as Slice, response);
    if (request.method === 'DELETE') {
      const slice = this.#slices.get(decodeURIComponent(name ?? ''));
      return slice === undefined ? void fail(404, 'not found') : this.#write('DELETED', slice, response);
    }
    const selector = url.searchParams.get('labelSelector') ?? '';
    if (url.searchParams.get('watch') !== 'true') {
      this.lists += 1;
      const items = [...this.#slices.values()].filter((slice) => matches(slice, selector));
      const list = { kind: 'EndpointSliceList', metadata: { resourceVersion: this.version }, items };
      return void response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(list));
    }
    const from = Number(url.searchParams.get('resourceVersion'));
    if (from < this.#forgotten) return void fail(410, 'too old resource version');
    response.writeHead(200, { 'content-type': 'application/json' }).flushHeaders();
    const send = (event: unknown) => response.write(`${JSON.stringify(event)}\n`);
    for (const { version, event } of this.#history) if (version > from && matches(event.object, selector)) send(event);
    const watch = { send, selector, response };
    this.#watches.add(watch);
    response.once('close', () => this.#watches.delete(watch));
  }

  #write(type: 'ADDED' | 'DELETED', slice: Slice, response: ServerResponse): void {
    this.#version += 1;
    const object = { ...slice, metadata: { ...slice.metadata, resourceVersion: this.version } };
    const known = this.#slices.has(slice.metadata.name);
    if (type === 'DELETED') this.#slices.delete(slice.metadata.name);
    else this.#slices.set(slice.metadata.name, object);
    const event = { type: type === 'ADDED' && known ? 'MODIFIED' : type, object };
    this.#history.push({ version: this.#version, event });
    for (const watch of this.#watches) if (matches(object, watch.selector)) watch.send(event);
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(object));
  }
}

function matches({ metadata }: Slice, selector: string): boolean {
  const [label = '', value] = selector.split('=');
  return metadata.labels[label] === value;
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of request) text += String(chunk);
  return text;
}
