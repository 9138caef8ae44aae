import { isJsonObject, RpcError, type ServiceEvent } from '@mcp-blocks/core';
import type { Client } from '@modelcontextprotocol/client';
import type { UpstreamWatch } from './upstream.js';

/** Change notifications by method, in both eras. */
const LIST_CHANGES: Readonly<Record<string, ServiceEvent>> = {
  'notifications/tools/list_changed': { kind: 'tools_list_changed' },
  'notifications/prompts/list_changed': { kind: 'prompts_list_changed' },
  'notifications/resources/list_changed': { kind: 'resources_list_changed' },
};

interface Watcher {
  readonly uri: string | undefined;
  readonly onEvent: (event: ServiceEvent) => void;
  readonly end: () => void;
}

/** What is watched over one SDK client: `subscriptions/listen` in the modern era, `resources/subscribe` in the legacy one. */
export class SdkWatches {
  readonly #client: Client;
  readonly #watchers = new Set<Watcher>();

  constructor(client: Client) {
    this.#client = client;
  }

  /** Hands a notification to who watches; false when it is none of a change. */
  notified(method: string, params: unknown): boolean {
    const change = LIST_CHANGES[method];
    const uri = method === 'notifications/resources/updated' && isJsonObject(params) ? params.uri : undefined;
    if (change === undefined && typeof uri !== 'string') return false;
    const event = change ?? ({ kind: 'resource_updated', uri: uri as string } as const);
    for (const watcher of this.#watchers) if (watcher.uri === uri) watcher.onEvent(event);
    return true;
  }

  /** @throws RpcError `method_not_found` when the node does not offer it. */
  async open(uri: string | undefined, onEvent: (event: ServiceEvent) => void): Promise<UpstreamWatch> {
    const { tools, prompts, resources } = this.#client.getServerCapabilities() ?? {};
    if (uri !== undefined && resources?.subscribe !== true) {
      throw new RpcError('method_not_found', 'The node does not offer to tell of changed resources');
    }
    let end: () => void = () => {};
    const ended = new Promise<void>((resolve) => (end = resolve));
    const watcher: Watcher = { uri, onEvent, end };
    this.#watchers.add(watcher);
    try {
      const lists = {
        ...(tools?.listChanged === true ? { toolsListChanged: true } : {}),
        ...(prompts?.listChanged === true ? { promptsListChanged: true } : {}),
        ...(resources?.listChanged === true ? { resourcesListChanged: true } : {}),
      };
      const stop = await this.#ask(uri, lists, end);
      return {
        ended,
        close: async () => {
          this.#watchers.delete(watcher);
          end();
          await stop();
        },
      };
    } catch (error) {
      this.#watchers.delete(watcher);
      throw error;
    }
  }

  /** Ends all of them: the connection is closed. */
  end(): void {
    for (const { end } of this.#watchers) end();
    this.#watchers.clear();
  }

  async #ask(uri: string | undefined, lists: object, end: () => void): Promise<() => Promise<unknown>> {
    if (this.#client.getProtocolEra() !== 'modern') {
      // Changed lists are told of unasked.
      if (uri === undefined) return async () => {};
      await this.#client.subscribeResource({ uri });
      return async () => this.#client.unsubscribeResource({ uri });
    }
    if (uri === undefined && Object.keys(lists).length === 0) return async () => {};
    const subscription = await this.#client.listen(uri === undefined ? lists : { resourceSubscriptions: [uri] });
    void subscription.closed.then(end);
    return () => subscription.close();
  }
}
