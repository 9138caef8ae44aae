import { isRpcError, type Principal, RpcError, type ServiceEvent, type ServiceNode } from '@mcp-blocks/core';
import { identityKey } from '../upstream/identity.js';
import { ALL_LISTS, NodeFeed, type NodeFeedOptions } from './node-feed.js';

/** What to be told of. */
export interface WatchOptions {
  /** The resource. Default: the lists of tools, prompts and resources. */
  readonly uri?: string;
  /** On whose behalf, where the nodes want credentials. Default: the cluster's own. */
  readonly principal?: Principal;
}

/** Changes are told of until it is closed. */
export interface ChangeWatch {
  /** Resolves when a node has agreed; rejects with the refusal, or `unavailable`, when none does at first. */
  readonly ready: Promise<void>;
  close(): void;
}

interface Topic {
  readonly listeners: Set<(event: ServiceEvent) => void>;
  readonly onEvent: (event: ServiceEvent) => void;
  ready: Promise<void>;
}

interface Feed {
  readonly principal: Principal | undefined;
  readonly topics: Map<string | undefined, Topic>;
  readonly nodes: Map<string, NodeFeed>;
}

/**
 * The changes at all nodes of a service. Each node is asked once per resource and identity, however many
 * watch it here; nodes that come are asked too.
 */
export class ChangeFeeds {
  readonly #options: Omit<NodeFeedOptions, 'node' | 'principal'>;
  readonly #feeds = new Map<string, Feed>();
  readonly #closing = new Set<Promise<void>>();
  #nodes: readonly ServiceNode[] = [];

  constructor(options: Omit<NodeFeedOptions, 'node' | 'principal'>) {
    this.#options = options;
  }

  watch({ uri, principal }: WatchOptions, listener: (event: ServiceEvent) => void): ChangeWatch {
    const key = this.#options.credentials === undefined ? '' : identityKey(principal);
    const feed = this.#feed(key, principal);
    const topic = feed.topics.get(uri) ?? this.#begin(feed, uri);
    const own = (event: ServiceEvent) => listener(event);
    topic.listeners.add(own);
    return {
      ready: topic.ready,
      close: () => {
        if (!topic.listeners.delete(own) || topic.listeners.size > 0) return;
        feed.topics.delete(uri);
        for (const node of feed.nodes.values()) node.remove(uri);
        if (feed.topics.size === 0) this.#end(key, feed);
      },
    };
  }

  /** Takes over discovery's list. */
  update(nodes: readonly ServiceNode[]): void {
    this.#nodes = nodes;
    for (const feed of this.#feeds.values()) {
      const names = new Set(nodes.map(nameOf));
      for (const [name, node] of feed.nodes) {
        if (names.has(name)) continue;
        feed.nodes.delete(name);
        this.#close(node);
      }
      const known = new Set(feed.nodes.keys());
      this.#follow(feed);
      const added = [...feed.nodes].filter(([name]) => !known.has(name));
      for (const [uri, topic] of feed.topics) {
        // Nobody waits for them: what they refuse, another node tells of.
        for (const [, node] of added) node.add(uri, topic.onEvent).catch(() => {});
        // A new node may offer other things.
        if (uri === undefined && added.length > 0) for (const event of ALL_LISTS) topic.onEvent(event);
      }
    }
  }

  /** Idempotent. */
  async close(): Promise<void> {
    for (const [key, feed] of this.#feeds) this.#end(key, feed);
    await Promise.all(this.#closing);
  }

  #feed(key: string, principal: Principal | undefined): Feed {
    const known = this.#feeds.get(key);
    if (known !== undefined) return known;
    const feed: Feed = { principal, topics: new Map(), nodes: new Map() };
    this.#feeds.set(key, feed);
    this.#follow(feed);
    return feed;
  }

  #follow(feed: Feed): void {
    for (const node of this.#nodes) {
      const known = feed.nodes.get(nameOf(node));
      if (known === undefined) feed.nodes.set(nameOf(node), new NodeFeed({ ...this.#options, node, principal: feed.principal }));
      else known.describe(node);
    }
  }

  #begin(feed: Feed, uri: string | undefined): Topic {
    const listeners = new Set<(event: ServiceEvent) => void>();
    const onEvent = (event: ServiceEvent) => {
      for (const listener of [...listeners]) listener(event);
    };
    const ready = Promise.any([...feed.nodes.values()].map((node) => node.add(uri, onEvent))).catch((error: unknown) => {
      throw reasonOf(error as AggregateError);
    });
    ready.catch(() => {});
    const topic: Topic = { listeners, onEvent, ready };
    feed.topics.set(uri, topic);
    return topic;
  }

  #end(key: string, feed: Feed): void {
    this.#feeds.delete(key);
    feed.topics.clear();
    for (const node of feed.nodes.values()) this.#close(node);
  }

  #close(node: NodeFeed): void {
    const closing: Promise<void> = node.close().finally(() => this.#closing.delete(closing));
    this.#closing.add(closing);
  }
}

function nameOf({ id, url }: ServiceNode): string {
  return `${id} ${url}`;
}

/** A node's answer says more than that another did not answer. */
function reasonOf({ errors }: AggregateError): unknown {
  return (
    errors.find((error) => isRpcError(error) && error.code !== 'unavailable') ??
    new RpcError('unavailable', 'No node can tell of changes now', { cause: errors[0], data: { retryAfterMs: 1_000 } })
  );
}
