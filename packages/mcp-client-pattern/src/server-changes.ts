import type { Events, JsonObject } from '@mcp-blocks/core';
import type { MCPClientEvents } from './events.js';
import type { ResourceSubscriptions } from './resource-subscriptions.js';
import type { ResponseCache } from './response-cache.js';
import type { ToolHints } from './tool-hints.js';

/** What {@link ServerChanges} keeps up to date, and whom it tells. */
export interface ServerChangesOptions {
  readonly cache: ResponseCache;
  readonly hints: ToolHints;
  readonly subscriptions: ResourceSubscriptions;
  readonly events: Events<MCPClientEvents>;
}

const LISTS = {
  'notifications/tools/list_changed': 'toolsChanged',
  'notifications/prompts/list_changed': 'promptsChanged',
  'notifications/resources/list_changed': 'resourcesChanged',
} as const;

/** Tells everybody concerned that something has changed at the server, or may have: first the cache, so that listeners read what is new. */
export class ServerChanges {
  readonly #options: ServerChangesOptions;
  #wasConnected = false;

  constructor(options: ServerChangesOptions) {
    this.#options = options;
  }

  notified(method: string, params: JsonObject): void {
    const { cache, hints, subscriptions, events } = this.#options;
    cache.notified(method, params);
    if (method === 'notifications/tools/list_changed') hints.forget();
    subscriptions.notified(method, params);
    if (Object.hasOwn(LISTS, method)) events.emit(LISTS[method as keyof typeof LISTS], { missed: false });
    events.emit('notification', { method, params });
  }

  /** There is another connection. */
  connected(): void {
    if (this.#wasConnected) this.#missed();
    this.#wasConnected = true;
    this.#options.subscriptions.connected();
  }

  /** Notifications may have been lost on the way. */
  gap(): void {
    this.#missed();
    this.#options.subscriptions.gap();
  }

  #missed(): void {
    const { cache, events } = this.#options;
    cache.missedNotifications();
    for (const event of Object.values(LISTS)) events.emit(event, { missed: true });
  }
}
