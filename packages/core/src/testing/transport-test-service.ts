import { RpcError } from '../errors.js';
import type { JsonObject } from '../json.js';
import type { RpcContext, RpcHandler, RpcResult } from '../rpc.js';
import { type RpcService, ServiceEventEmitter, type ServiceInfo } from '../service.js';
import type { TransportCounts, TransportProbe } from './transport-harness.js';

/** What the error of the `bug` call says, and no caller may ever read. */
export const BUG_SECRET = 'a secret of the service';

type Tool = (args: JsonObject, context: RpcContext, params: JsonObject) => Promise<RpcResult>;

/** The service behind {@link transportContract}'s cases: serve it with your transport. */
export class TransportTestService implements RpcService, TransportProbe {
  readonly info: ServiceInfo = { name: 'transport-test', version: '1.0.0', capabilities: { tools: { listChanged: true } } };
  readonly events: ServiceEventEmitter = new ServiceEventEmitter();
  readonly handler: RpcHandler = (request, context) => this.#answer(request.method, request.params, context);
  readonly #calls = new Map<string, Call>();
  readonly #tools: Readonly<Record<string, Tool>> = {
    echo: (args, context) => this.#echo(args, context),
    size: async ({ bytes }) => text('x'.repeat(Number(bytes))),
    hold: (args, context, params) => this.#hold(args, context, params),
    progress: (args, context, params) => this.#progress(args, context, params),
    ask: (_args, _context, params) => ask(params),
    'ask-directly': (_args, context) => askDirectly(context),
    fail: (args) => fail(String(args.how)),
  };
  #count = 0;
  #running = 0;
  #sentBytes = 0;

  entered(key: string): Promise<void> {
    return this.#call(key).entered.promise;
  }

  over(key: string): Promise<'answered' | 'aborted'> {
    return this.#call(key).over.promise;
  }

  async release(key: string): Promise<void> {
    this.#call(key).released.resolve();
  }

  async publish(): Promise<void> {
    this.events.publish({ kind: 'tools_list_changed' });
  }

  async counts(): Promise<TransportCounts> {
    return { calls: this.#count, running: this.#running, sentBytes: this.#sentBytes, subscribers: this.events.listenerCount };
  }

  async #answer(method: string, params: JsonObject, context: RpcContext): Promise<RpcResult> {
    if (method === 'tools/list') return { tools: Object.keys(this.#tools).map((name) => ({ name, inputSchema: { type: 'object' } })) };
    if (method !== 'tools/call') throw new RpcError('method_not_found', `There is no method '${method}'`);
    const name = String(params.name);
    const tool = Object.hasOwn(this.#tools, name) ? this.#tools[name] : undefined;
    if (tool === undefined) throw new RpcError('invalid_params', `Unknown tool '${name}'`);
    this.#count += 1;
    this.#running += 1;
    try {
      return await tool((params.arguments ?? {}) as JsonObject, context, params);
    } finally {
      this.#running -= 1;
    }
  }

  async #echo({ turns, ...args }: JsonObject, { protocolVersion }: RpcContext): Promise<RpcResult> {
    for (let turn = 0; turn < Number(turns ?? 0); turn += 1) await nextTurn();
    return text(JSON.stringify({ protocolVersion, args }));
  }

  #hold({ key }: JsonObject, { signal, notify }: RpcContext, { _meta }: JsonObject): Promise<RpcResult> {
    const progressToken = (_meta as JsonObject | undefined)?.progressToken;
    return this.#run(String(key), async (call) => {
      if (progressToken !== undefined) await notify('notifications/progress', { progressToken, progress: 0 });
      await Promise.race([call.released.promise, aborted(signal)]);
      if (signal.aborted) throw new RpcError('cancelled', 'The call was cancelled');
      return text(String(key));
    });
  }

  #progress({ key, count, bytes, hold }: JsonObject, context: RpcContext, { _meta }: JsonObject): Promise<RpcResult> {
    const progressToken = (_meta as JsonObject | undefined)?.progressToken ?? null;
    const message = 'x'.repeat(Number(bytes));
    return this.#run(String(key), async (call) => {
      for (let progress = 1; progress <= Number(count); progress += 1) {
        // Like a handler that reads from a disk: a transport that never waits gets its turns.
        await nextTurn();
        await Promise.race([context.notify('notifications/progress', { progressToken, progress, message }), aborted(context.signal)]);
        if (context.signal.aborted) throw new RpcError('cancelled', 'The call was cancelled');
        this.#sentBytes += message.length;
      }
      if (hold === true) await Promise.race([call.released.promise, aborted(context.signal)]);
      if (context.signal.aborted) throw new RpcError('cancelled', 'The call was cancelled');
      return text('done');
    });
  }

  async #run(key: string, work: (call: Call) => Promise<RpcResult>): Promise<RpcResult> {
    const call = this.#call(key);
    call.entered.resolve();
    try {
      const result = await work(call);
      call.over.resolve('answered');
      return result;
    } catch (error) {
      call.over.resolve('aborted');
      throw error;
    }
  }

  #call(key: string): Call {
    let call = this.#calls.get(key);
    if (call === undefined) {
      call = { entered: Promise.withResolvers(), released: Promise.withResolvers(), over: Promise.withResolvers() };
      this.#calls.set(key, call);
    }
    return call;
  }
}

interface Call {
  readonly entered: PromiseWithResolvers<void>;
  readonly released: PromiseWithResolvers<void>;
  readonly over: PromiseWithResolvers<'answered' | 'aborted'>;
}

function text(value: string): RpcResult {
  return { content: [{ type: 'text', text: value }] };
}

/** Two rounds of questions, the second of which depends on what the first was answered. */
async function ask({ inputResponses, requestState }: JsonObject): Promise<RpcResult> {
  const given = (key: string) =>
    ((inputResponses as JsonObject | undefined)?.[key] as { content?: { value?: string } } | undefined)?.content?.value;
  const name = given('name');
  if (name !== undefined) return question('place', `Where does ${name} live?`, name);
  const place = given('place');
  if (place !== undefined) return text(`${String(requestState)} of ${place}`);
  return question('name', 'Who is it?', 'asked');
}

function question(key: string, message: string, requestState: string): RpcResult {
  return { resultType: 'input_required', inputRequests: { [key]: elicitation(message) }, requestState };
}

async function askDirectly({ request }: RpcContext): Promise<RpcResult> {
  if (request === undefined) throw new RpcError('invalid_request', 'The client cannot be asked directly in this era');
  const { method, params } = elicitation('Who is it?');
  const { content } = await request(method, params);
  return text(String((content as { value?: string } | undefined)?.value));
}

function elicitation(message: string): { method: string; params: JsonObject } {
  const requestedSchema = { type: 'object', properties: { value: { type: 'string' } }, required: ['value'] };
  return { method: 'elicitation/create', params: { mode: 'form', message, requestedSchema } };
}

async function fail(how: string): Promise<RpcResult> {
  switch (how) {
    case 'application':
      throw new RpcError('rate_limited', 'Too many calls', { data: { retryAfterMs: 1500 } });
    case 'arguments':
      throw new RpcError('invalid_params', 'arguments.how: expected something else', { data: { path: 'arguments.how' } });
    case 'tool':
      return { ...text('The printer is out of paper'), isError: true };
    default:
      throw new Error(BUG_SECRET);
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
