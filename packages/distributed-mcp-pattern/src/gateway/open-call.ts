import { isJsonObject, type JsonObject, type RpcContext, RpcError, type RpcResult } from '@mcp-blocks/core';

/** A question of the upstream server that its caller has not answered. */
interface Question {
  readonly method: string;
  readonly params: JsonObject;
  resolve(answer: JsonObject): void;
  reject(error: Error): void;
}

/** What a round with the caller comes to: the result, or questions to hand over first. */
export type Round = { readonly result: RpcResult } | { readonly inputRequests: JsonObject };

/**
 * One call to an upstream server that stays open while its modern caller is asked: the server's requests
 * become the `inputRequests` of a result, and the `inputResponses` of the caller's next request their answers.
 */
export class OpenCall {
  readonly #abort = new AbortController();
  readonly #questions = new Map<string, Question>();
  readonly #outcome: Promise<RpcResult>;
  /** The request the caller waits in; none between two rounds. */
  #attached: RpcContext | undefined;
  /** Resolves when the upstream server has answered, or failed. */
  readonly ended: Promise<void>;
  #onQuestion: () => void = () => {};
  #asked = 0;

  /**
   * @param send - sends the call with the context given.
   * @param admit - called for each question; throws when the caller may not be asked now.
   */
  constructor(context: RpcContext, send: (context: RpcContext) => Promise<RpcResult>, admit: (call: OpenCall) => void) {
    this.#attached = context;
    this.#outcome = send({
      ...context,
      signal: this.#abort.signal,
      // Between two rounds there is nobody to tell.
      notify: async (method, params) => this.#attached?.notify(method, params),
      request: async (method, params) => {
        admit(this);
        return this.#ask(method, params);
      },
    });
    const end = () => this.#end(new RpcError('cancelled', 'The call has ended'));
    this.ended = this.#outcome.then(end, end);
  }

  /** Takes the caller's answers; what is not among them is asked again. */
  answer(responses: unknown): void {
    if (!isJsonObject(responses)) return;
    for (const [key, response] of Object.entries(responses)) {
      const question = this.#questions.get(key);
      if (question === undefined || !isJsonObject(response)) continue;
      this.#questions.delete(key);
      question.resolve(response);
    }
  }

  /** Waits, within the caller's request, for the result or for questions. A caller that leaves ends the call. */
  async round(context: RpcContext): Promise<Round> {
    this.#attached = context;
    const onAbort = () => this.cancel(context.signal.reason);
    context.signal.addEventListener('abort', onAbort, { once: true });
    if (context.signal.aborted) onAbort();
    try {
      const asked = new Promise<undefined>((resolve) => {
        this.#onQuestion = () => resolve(undefined);
        if (this.#questions.size > 0) resolve(undefined);
      });
      const result = await Promise.race([this.#outcome, asked]);
      // The call may have ended right after it asked.
      if (result === undefined && this.#questions.size > 0) return { inputRequests: this.#inputRequests() };
      return { result: result ?? (await this.#outcome) };
    } finally {
      context.signal.removeEventListener('abort', onAbort);
      this.#attached = undefined;
    }
  }

  /** Ends it: the upstream server is told, and whoever waits hears why. */
  cancel(reason: unknown): void {
    this.#abort.abort(reason);
    this.#end(new RpcError('cancelled', 'The call was cancelled', { cause: reason }));
  }

  #inputRequests(): JsonObject {
    return Object.fromEntries([...this.#questions].map(([key, { method, params }]) => [key, { method, params }]));
  }

  #ask(method: string, params: JsonObject): Promise<JsonObject> {
    if (this.#abort.signal.aborted) throw new RpcError('cancelled', 'The call was cancelled');
    this.#asked += 1;
    const key = `question-${this.#asked}`;
    return new Promise((resolve, reject) => {
      this.#questions.set(key, { method, params, resolve, reject });
      this.#onQuestion();
    });
  }

  #end(error: RpcError): void {
    for (const { reject } of this.#questions.values()) reject(error);
    this.#questions.clear();
  }
}
