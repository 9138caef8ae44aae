import type { Discovery, ServiceNode } from './discovery.js';
import { ConfigurationError } from './errors.js';

/** A fixed list of nodes per service, which the owner may replace with {@link StaticDiscovery.update}. */
export class StaticDiscovery implements Discovery {
  readonly #services = new Map<string, readonly ServiceNode[]>();
  readonly #watchers = new Map<string, Set<(nodes: readonly ServiceNode[]) => void>>();

  /**
   * @param services - nodes by service name.
   * @throws ConfigurationError when a node has no id, an id occurs twice, or a URL does not parse.
   */
  constructor(services: Readonly<Record<string, readonly ServiceNode[]>>) {
    for (const [service, nodes] of Object.entries(services)) this.#services.set(service, validated(service, nodes));
  }

  nodes(service: string): Promise<readonly ServiceNode[]> {
    return Promise.resolve(this.#services.get(service) ?? []);
  }

  async watch(service: string, onChange: (nodes: readonly ServiceNode[]) => void): Promise<() => Promise<void>> {
    const own = (nodes: readonly ServiceNode[]) => onChange(nodes);
    const watchers = this.#watchers.get(service) ?? new Set();
    this.#watchers.set(service, watchers);
    watchers.add(own);
    onChange(this.#services.get(service) ?? []);
    return async () => void watchers.delete(own);
  }

  /** Replaces a service's nodes and tells its watchers. */
  update(service: string, nodes: readonly ServiceNode[]): void {
    const list = validated(service, nodes);
    this.#services.set(service, list);
    for (const watcher of [...(this.#watchers.get(service) ?? [])]) watcher(list);
  }

  async close(): Promise<void> {
    this.#watchers.clear();
  }
}

function validated(service: string, nodes: readonly ServiceNode[]): readonly ServiceNode[] {
  const seen = new Set<string>();
  for (const [index, node] of nodes.entries()) {
    const at = `services.${service}[${index}]`;
    if (node.id === '') throw new ConfigurationError(`${at}.id`, 'expected a non-empty string');
    if (seen.has(node.id)) throw new ConfigurationError(`${at}.id`, `'${node.id}' occurs twice; ids are unique within a service`);
    seen.add(node.id);
    if (!URL.canParse(node.url)) throw new ConfigurationError(`${at}.url`, `expected a URL, got '${node.url}'`);
    if (node.weight !== undefined && !(node.weight > 0))
      throw new ConfigurationError(`${at}.weight`, `expected a positive number, got ${node.weight}`);
  }
  return Object.freeze([...nodes]);
}
