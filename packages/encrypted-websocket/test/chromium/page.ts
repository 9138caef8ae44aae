import { type NoiseClientOptions, WebSocketClientTransport } from '@mcp-blocks/encrypted-websocket';
import { Client } from '@modelcontextprotocol/client';

/** How the page is to connect. */
export interface PageOptions {
  readonly mode: 'auto' | 'legacy';
  readonly token?: string;
  readonly noise?: Omit<NoiseClientOptions, 'acceptPeer'>;
  /** With XX: the only key of a server to accept. */
  readonly acceptedKey?: string;
}

/** The page's end of one connection, driven by the test. */
export async function connect(url: string, { mode, token, noise, acceptedKey }: PageOptions) {
  const transport = new WebSocketClientTransport(url, {
    ...(token === undefined ? {} : { token }),
    ...(noise === undefined ? {} : { noise: { ...noise, ...(acceptedKey && { acceptPeer: (key: string) => key === acceptedKey }) } }),
  });
  const client = new Client({ name: 'page', version: '1.0.0' }, { versionNegotiation: { mode } });
  const ended = new Promise<void>((resolve) => (client.onclose = resolve));
  let changes = 0;
  let changed = () => {};
  client.setNotificationHandler('notifications/tools/list_changed', () => {
    changes += 1;
    changed();
  });
  await client.connect(transport);
  const textOf = async (name: string, values: Record<string, unknown>, options = {}) => {
    const { content } = await client.callTool({ name, arguments: values }, options);
    return (content as { text: string }[]).map(({ text }) => text).join();
  };
  return {
    tools: async () => (await client.listTools()).tools.map(({ name }) => name),
    call: textOf,
    progressOf: async (name: string) => {
      const seen: number[] = [];
      await textOf(name, {}, { onprogress: ({ progress }: { progress: number }) => seen.push(progress) });
      return seen;
    },
    /** Calls a tool that changes the list of tools, and waits to hear of it. */
    changesAfter: async (name: string) => {
      if (mode === 'auto') await client.listen({ toolsListChanged: true });
      const heard = new Promise<void>((resolve) => (changed = resolve));
      await textOf(name, {});
      await heard;
      return changes;
    },
    session: () => ({ ...transport.getSessionInfo(), keyRotations: transport.metrics().keyRotations }),
    ended: async () => {
      await ended;
      return { code: transport.closeCode, error: transport.closeError?.code };
    },
  };
}

export type PageConnection = Awaited<ReturnType<typeof connect>>;

/** What the test finds in the page's global scope. */
export interface PageGlobal {
  readonly connect: typeof connect;
  connection: PageConnection;
}

Object.assign(globalThis, { connect });
