import type { JSONRPCMessage } from '@modelcontextprotocol/server';

/** Options of {@link DeliveryOrder}. */
export interface DeliveryOrderOptions {
  /** Runs a task once every promise that is settled by now has been seen to. */
  later(task: () => void): void;
  deliver(message: JSONRPCMessage): void;
  /** Something waits: nothing more should be read until {@link resume}. */
  pause(): void;
  resume(): void;
}

/**
 * SDK clients handle a notification a promise turn later but a response at once: of two frames in one network
 * read, the response would overtake the progress before it, which is lost then. So whatever follows a
 * notification in the same turn waits for the next one; notifications among themselves need not.
 */
export class DeliveryOrder {
  readonly #options: DeliveryOrderOptions;
  #waiting: JSONRPCMessage[] = [];
  /** Whether a notification was delivered in this turn. */
  #isBehindNotification = false;

  constructor(options: DeliveryOrderOptions) {
    this.#options = options;
  }

  take(message: JSONRPCMessage): void {
    if (this.#waiting.length === 0 && this.#mayGo(message)) this.#deliver(message);
    else if (this.#waiting.push(message) === 1) this.#options.pause();
  }

  /** Delivers what waits: nothing comes after it. */
  flush(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const message of waiting) this.#options.deliver(message);
  }

  #mayGo(message: JSONRPCMessage): boolean {
    return !this.#isBehindNotification || isNotification(message);
  }

  #deliver(message: JSONRPCMessage): void {
    if (!this.#isBehindNotification && isNotification(message)) {
      this.#isBehindNotification = true;
      this.#options.later(() => this.#nextTurn());
    }
    this.#options.deliver(message);
  }

  #nextTurn(): void {
    this.#isBehindNotification = false;
    if (this.#waiting.length === 0) return;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const [at, message] of waiting.entries()) {
      if (!this.#mayGo(message)) {
        this.#waiting = waiting.slice(at);
        return;
      }
      this.#deliver(message);
    }
    this.#options.resume();
  }
}

function isNotification(message: JSONRPCMessage): boolean {
  return 'method' in message && !('id' in message);
}
