import { type Clock, sleep } from '@mcp-blocks/core';
import { type Client, ProtocolError, ProtocolErrorCode } from '@modelcontextprotocol/client';

/** Options of {@link listenForChanges}. */
export interface ListenOptions {
  readonly clock: Clock;
  /** Milliseconds to wait after the given number of failures in a row. */
  retryDelay(failures: number): number;
  /** The subscription is open again after a gap in which changes may have been missed. */
  onGap(): void;
  onError(error: Error): void;
}

/**
 * Keeps a modern connection's `subscriptions/listen` open for the list changes that the server offers,
 * until the signal aborts. The changes arrive as notifications like any other.
 */
export async function listenForChanges(client: Client, options: ListenOptions, signal: AbortSignal): Promise<void> {
  const { tools, prompts, resources } = client.getServerCapabilities() ?? {};
  const filter = {
    ...(tools?.listChanged ? { toolsListChanged: true } : {}),
    ...(prompts?.listChanged ? { promptsListChanged: true } : {}),
    ...(resources?.listChanged ? { resourcesListChanged: true } : {}),
  };
  if (Object.keys(filter).length === 0) return;
  let failures = 0;
  while (!signal.aborted) {
    try {
      const subscription = await client.listen(filter, { signal });
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
