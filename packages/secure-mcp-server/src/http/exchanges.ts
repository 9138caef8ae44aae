import type { Socket } from 'node:net';

/** One request being answered. */
export interface Exchange {
  readonly socket: Socket;
  /** Subscriptions end when they are ended; drain does not wait for them. */
  kind: 'call' | 'subscription';
}

/** The requests being answered, so that drain can wait for them and no connection has too many. */
export class Exchanges {
  readonly #open = new Set<Exchange>();
  readonly #bySocket = new WeakMap<Socket, number>();
  #waiters: { readonly kinds: readonly Exchange['kind'][]; readonly wake: () => void }[] = [];

  begin(socket: Socket): Exchange {
    const exchange: Exchange = { socket, kind: 'call' };
    this.#open.add(exchange);
    this.#bySocket.set(socket, this.openOn(socket) + 1);
    return exchange;
  }

  /** From now on `exchange` is waited for as a subscription. */
  becomeSubscription(exchange: Exchange): void {
    exchange.kind = 'subscription';
    this.#wake();
  }

  end(exchange: Exchange): void {
    this.#open.delete(exchange);
    this.#bySocket.set(exchange.socket, this.openOn(exchange.socket) - 1);
    this.#wake();
  }

  /** How many are open on one connection: more than one only when the client pipelines (RFC 9112, section 9.3.2). */
  openOn(socket: Socket): number {
    return this.#bySocket.get(socket) ?? 0;
  }

  /** Resolves when none of these kinds is open. */
  none(...kinds: readonly Exchange['kind'][]): Promise<void> {
    return new Promise((wake) => {
      this.#waiters.push({ kinds, wake });
      this.#wake();
    });
  }

  #wake(): void {
    if (this.#waiters.length === 0) return;
    const open = new Set([...this.#open].map((exchange) => exchange.kind));
    this.#waiters = this.#waiters.filter(({ kinds, wake }) => {
      if (kinds.some((kind) => open.has(kind))) return true;
      wake();
      return false;
    });
  }
}
