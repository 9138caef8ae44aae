import { type Clock, sleep } from '@mcp-blocks/core';
import { type Client, type McpSubscription, ProtocolError, ProtocolErrorCode, type SubscriptionFilter } from '@modelcontextprotocol/client';

/** Options of {@link keepListening}. */
export interface ListenOptions {
  readonly clock: Clock;
  /** Milliseconds to wait after the given number of failures in a row. */
  retryDelay(failures: number): number;
  /** The subscription is open again after a gap in which changes may have been missed. */
  onGap(): void;
  onError(error: Error): void;
}

/** The lists whose changes the server tells of. */
export function offeredChanges(client: Client): SubscriptionFilter {
  const { tools, prompts, resources } = client.getServerCapabilities() ?? {};
  return {
    ...(tools?.listChanged ? { toolsListChanged: true } : {}),
    ...(prompts?.listChanged ? { promptsListChanged: true } : {}),
    ...(resources?.listChanged ? { resourcesListChanged: true } : {}),
  };
}

/**
 * Keeps a modern connection's `subscriptions/listen` open until the signal aborts. The changes arrive as
 * notifications like any other.
 *
 * @param opened - one that is open already.
 */
export async function keepListening(
  client: Client,
  filter: SubscriptionFilter,
  options: ListenOptions,
  signal: AbortSignal,
  opened?: McpSubscription,
): Promise<void> {
  let open = opened;
  let failures = 0;
  while (!signal.aborted) {
    try {
      const subscription = open ?? (await client.listen(filter, { signal }));
      open = undefined;
      if (failures > 0) options.onGap();
      failures = 0;
      await subscription.closed;
      if (signal.aborted) return;
    } catch (error) {
      if (signal.aborted) return;
      options.onError(error as Error);
      // Offered and not there: asking again will not help.
      if (ProtocolError.isInstance(error) && error.code === ProtocolErrorCode.MethodNotFound) return;
    }
    failures += 1;
    await sleep(options.clock, options.retryDelay(failures), signal).catch(() => {});
  }
}
