import { ConfigurationError, RpcError } from '@mcp-blocks/core';
import { Client, type IMap, LifecycleState, ReconnectMode, type Ringbuffer } from 'hazelcast-client';

/** Where a Hazelcast cluster is. */
export interface HazelcastPlace {
  /**
   * Members to begin with, the rest are found: `hazelcast://` or `hazelcasts://` (TLS) URLs, with user and password as
   * needed, the same for all, and the name of the cluster as their path: `hazelcast://10.0.0.1:5701/production`.
   * Without one it is `dev`, as Hazelcast has it.
   */
  readonly urls: readonly string[];
  /** Told of connections that were lost or could not be made; the client reconnects by itself. Default: nobody is. */
  readonly onError?: (error: Error) => void;
}

/** Entries as text. */
export type HazelcastMap = IMap<string, string>;

/** One client, made with the first command. */
export class HazelcastConnection {
  readonly #config: Parameters<typeof Client.newHazelcastClient>[0];
  readonly #name: string;
  readonly #timeoutMs: number;
  readonly #waiting = new Set<() => void>();
  #client: Promise<Client> | undefined;
  #isConnected = false;
  #isClosed = false;

  constructor({ urls, onError = () => {} }: HazelcastPlace, name: string, timeoutMs: number) {
    const members = addresses(urls);
    const [{ protocol, username, password, pathname }] = members as [URL];
    this.#name = name;
    this.#timeoutMs = timeoutMs;
    this.#config = {
      clusterName: decodeURIComponent(pathname.slice(1)) || 'dev',
      network: {
        clusterMembers: members.map(({ hostname, port }) => `${hostname}:${port || 5701}`),
        connectionTimeout: timeoutMs,
        // What got no answer may have run.
        redoOperation: false,
        ...(protocol === 'hazelcasts:' ? { ssl: { enabled: true, sslOptions: {} } } : {}),
      },
      ...(username === '' && password === ''
        ? {}
        : { security: { usernamePassword: { username: decodeURIComponent(username), password: decodeURIComponent(password) } } }),
      connectionStrategy: {
        asyncStart: true,
        reconnectMode: ReconnectMode.ASYNC,
        connectionRetry: { initialBackoffMillis: 25, maxBackoffMillis: 500, multiplier: 2, jitter: 0.5, clusterConnectTimeoutMillis: -1 },
      },
      lifecycleListeners: [(state) => this.#heard(state)],
      properties: {
        'hazelcast.client.invocation.timeout.millis': timeoutMs,
        // What the client would notice after a minute only: a member that is silent, and a loss that a write met first.
        'hazelcast.client.heartbeat.interval': Math.ceil(timeoutMs / 2),
        'hazelcast.client.heartbeat.timeout': 2 * timeoutMs,
      },
      customLogger: logger(onError),
    };
  }

  /** @throws RpcError `unavailable` when there is no connection or no answer; the command may have run. */
  run<T>(command: (map: HazelcastMap) => Promise<T>): Promise<T> {
    return this.#within(async () => command(await (await this.#connected()).getMap<string, string>(`${this.#name}state`)));
  }

  /** As {@link run}, with the messages. */
  withMessages<T>(command: (messages: Ringbuffer<string>) => Promise<T>): Promise<T> {
    return this.#within(async () => command(await this.messages()));
  }

  /** However long the connection takes. */
  async messages(): Promise<Ringbuffer<string>> {
    return (await this.#connected()).getRingbuffer<string>(`${this.#name}messages`);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    for (const wake of [...this.#waiting]) wake();
    const client = await this.#client?.catch(() => undefined);
    await client?.shutdown();
  }

  async #connected(): Promise<Client> {
    this.#client ??= Client.newHazelcastClient(this.#config);
    const client = await this.#client;
    while (!this.#isConnected && !this.#isClosed) {
      await new Promise<void>((resolve) => {
        const wake = () => {
          this.#waiting.delete(wake);
          resolve();
        };
        this.#waiting.add(wake);
      });
    }
    if (this.#isClosed) throw new RpcError('internal_error', 'The state store is closed');
    return client;
  }

  #heard(state: LifecycleState): void {
    if (state === LifecycleState.CONNECTED) this.#isConnected = true;
    if (state === LifecycleState.DISCONNECTED) this.#isConnected = false;
    if (this.#isConnected) for (const wake of [...this.#waiting]) wake();
  }

  async #within<T>(command: () => Promise<T>): Promise<T> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => reject(new Error(`No answer within ${this.#timeoutMs} ms`)), this.#timeoutMs);
    });
    try {
      return await Promise.race([command(), late]);
    } catch (cause) {
      if (cause instanceof RpcError) throw cause;
      throw new RpcError('unavailable', 'The state store cannot be reached', { cause });
    } finally {
      clearTimeout(timer);
    }
  }
}

function addresses(urls: readonly string[]): URL[] {
  if (urls.length === 0) throw new ConfigurationError('urls', 'expected at least one URL');
  return urls.map((url, index) => {
    const parsed = URL.canParse(url) ? new URL(url) : undefined;
    // The URL may hold a password, so the message does not.
    if (parsed === undefined || !/^hazelcasts?:$/.test(parsed.protocol) || parsed.hostname === '') {
      throw new ConfigurationError(`urls[${index}]`, 'expected a hazelcast:// or hazelcasts:// URL');
    }
    const first = new URL(urls[0] as string);
    const isLikeFirst = (['protocol', 'username', 'password', 'pathname'] as const).every((part) => parsed[part] === first[part]);
    if (!isLikeFirst) throw new ConfigurationError(`urls[${index}]`, 'expected scheme, user, password and cluster of the first');
    return parsed;
  });
}

/** The client writes to the console unless told otherwise. */
function logger(onError: (error: Error) => void) {
  const silent = () => {};
  const tell = (object: string, message: string, info?: unknown) => {
    onError(new Error(`${object}: ${message}`, info instanceof Error ? { cause: info } : {}));
  };
  return { log: silent, error: tell, warn: tell, info: silent, debug: silent, trace: silent };
}
