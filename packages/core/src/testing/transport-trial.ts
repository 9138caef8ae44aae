import assert from 'node:assert/strict';
import type { JsonObject } from '../json.js';
import { LEGACY_PROTOCOL_VERSION, MODERN_PROTOCOL_VERSION } from '../protocol.js';
import type { ContractCase } from './contract.js';
import type {
  TransportClient,
  TransportConnection,
  TransportFeature,
  TransportHarness,
  TransportProbe,
  TransportRequestOptions,
  TransportServer,
} from './transport-harness.js';

/** One promise of {@link transportContract}. */
export interface TransportCase extends ContractCase<TransportHarness> {
  /** Why the case cannot be run with this harness; `undefined` when it can. */
  skipReason(harness: TransportHarness): string | undefined;
}

/** What a case needs to be run. */
interface TransportNeeds {
  readonly needs?: readonly TransportFeature[];
  /** The only era it is about, and what is different in the other. */
  readonly only?: { readonly era: TransportHarness['era']; readonly because: string };
  /** Milliseconds a request may run on the server. Default: an hour. */
  readonly requestTimeoutMs?: number;
}

const PATIENCE_MS = 5_000;
const HOUR_MS = 3_600_000;
const KIB = 1024;

export function transportCase(name: string, run: (trial: TransportTrial) => Promise<void>, needs: TransportNeeds = {}): TransportCase {
  return {
    name,
    skipReason(harness) {
      if (needs.only !== undefined && needs.only.era !== harness.era) return needs.only.because;
      const missing = needs.needs?.find((feature) => harness.lacks?.[feature] !== undefined);
      return missing === undefined ? undefined : harness.lacks?.[missing];
    },
    async run(harness) {
      const server = await harness.serve({ requestTimeoutMs: needs.requestTimeoutMs ?? HOUR_MS });
      const trial = new TransportTrial(harness, server);
      try {
        await run(trial);
      } finally {
        await trial.soon(server.close(), 'the server has closed');
      }
    },
  };
}

/** A server under test, and everything a case does with it: nothing waits longer than the harness's patience. */
export class TransportTrial {
  readonly harness: TransportHarness;
  readonly server: TransportServer;
  readonly probe: TransportProbe;
  readonly maxMessageBytes: number;
  readonly maxUnreadBytes: number;
  /** The questions the clients were asked. */
  readonly asked: unknown[] = [];
  readonly #patienceMs: number;

  constructor(harness: TransportHarness, server: TransportServer) {
    this.harness = harness;
    this.server = server;
    this.probe = server.probe;
    this.maxMessageBytes = harness.maxMessageBytes ?? 4096 * KIB;
    this.maxUnreadBytes = harness.maxUnreadBytes ?? 16 * KIB * KIB;
    this.#patienceMs = harness.patienceMs ?? PATIENCE_MS;
  }

  get protocolVersion(): string {
    return this.harness.era === 'modern' ? MODERN_PROTOCOL_VERSION : LEGACY_PROTOCOL_VERSION;
  }

  can(feature: TransportFeature): boolean {
    return this.harness.lacks?.[feature] === undefined;
  }

  connect(): Promise<TransportConnection> {
    const answer = ({ message }: JsonObject): JsonObject => {
      this.asked.push(message);
      return { action: 'accept', content: { value: message === 'Who is it?' ? 'Ada' : 'London' } };
    };
    return this.soon(this.server.connect({ answer }), 'a client is connected');
  }

  /** A client besides `client` where there can be two, else that one. */
  async another(client: TransportClient): Promise<TransportClient> {
    return this.can('several clients') ? (await this.connect()).client : client;
  }

  /** Calls a tool and resolves with the text of its result. */
  async call(client: TransportClient, name: string, args: JsonObject = {}, options?: TransportRequestOptions): Promise<string> {
    return textOf(await this.soon(this.send(client, name, args, options), `the call of '${name}' is answered`));
  }

  /** Calls a tool, however long it takes. */
  send(client: TransportClient, name: string, args: JsonObject = {}, options?: TransportRequestOptions): Promise<JsonObject> {
    const sent = client.request('tools/call', { name, arguments: args }, options);
    // The case looks at it later.
    sent.catch(() => {});
    return sent;
  }

  /** Starts a call that waits, and resolves when its handler runs. */
  async hold(client: TransportClient, key: string, options?: TransportRequestOptions): Promise<{ readonly answer: Promise<JsonObject> }> {
    const answer = this.send(client, 'hold', { key }, options);
    const refused = answer.then(() => assert.fail(`the held call '${key}' was answered before it ran`));
    await Promise.race([this.soon(this.probe.entered(key), `the call '${key}' runs`), refused]);
    refused.catch(() => {});
    return { answer };
  }

  /** As {@link hold}, and the answer has begun: progress has arrived. */
  async holdBegun(client: TransportClient, key: string): Promise<{ readonly answer: Promise<JsonObject> }> {
    const begun = Promise.withResolvers<void>();
    const held = await this.hold(client, key, { onProgress: () => begun.resolve() });
    await this.soon(begun.promise, `the progress of '${key}' has arrived`);
    return held;
  }

  /** Resolves when both ends still serve a call. */
  async echo(client: TransportClient, args: JsonObject = { still: 'there' }): Promise<void> {
    assert.deepEqual(JSON.parse(await this.call(client, 'echo', args)), { protocolVersion: this.protocolVersion, args });
  }

  /** Asserts that `call` fails soon, and returns with what. */
  async fails(call: Promise<unknown>, what: string): Promise<Error & { readonly code?: unknown; readonly data?: unknown }> {
    const outcome = await this.soon(
      call.then(
        (result) => ({ result }),
        (error: Error) => ({ error }),
      ),
      `${what} has failed`,
    );
    if ('error' in outcome) return outcome.error;
    assert.fail(`${what}: expected a failure, got ${JSON.stringify(outcome.result).slice(0, 200)}`);
  }

  async aborted(key: string): Promise<void> {
    assert.equal(await this.soon(this.probe.over(key), `the handler of '${key}' is over`), 'aborted');
  }

  async advance(ms: number): Promise<void> {
    await this.server.advance?.(ms);
  }

  /** Waits for what has to happen soon. */
  async soon<T>(promise: Promise<T>, what: string): Promise<T> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => reject(new Error(`Not within ${this.#patienceMs} ms: ${what}`)), this.#patienceMs);
    });
    try {
      return await Promise.race([promise, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Repeats `attempt` until it resolves with true. */
  async eventually(attempt: () => Promise<boolean>, what: string): Promise<void> {
    const deadline = Date.now() + this.#patienceMs;
    while (!(await attempt())) if (Date.now() > deadline) assert.fail(`Not within ${this.#patienceMs} ms: ${what}`);
  }

  /** Publishes changes until the client is told of one. */
  async toldOfChanges(client: TransportClient, via: TransportClient = client): Promise<void> {
    const before = client.notifications.length;
    await this.eventually(async () => {
      await this.probe.publish();
      await this.echo(via);
      return client.notifications.length > before;
    }, 'the client is told of a change');
    assert.ok(client.notifications.every((method) => method === 'notifications/tools/list_changed'));
  }
}

function textOf(result: JsonObject): string {
  const [block] = result.content as { text?: unknown }[];
  assert.equal(typeof block?.text, 'string', `a result without text: ${JSON.stringify(result).slice(0, 200)}`);
  return block?.text as string;
}
