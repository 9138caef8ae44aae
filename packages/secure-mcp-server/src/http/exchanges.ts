/** One request being answered. */
export interface Exchange {
  /** Subscriptions end when they are ended; drain does not wait for them. */
  kind: 'call' | 'subscription';
}

/** The requests being answered, so that drain can wait for them. */
export class Exchanges {
  readonly #open = new Set<Exchange>();
  #waiters: { readonly kinds: readonly Exchange['kind'][]; readonly wake: () => void }[] = [];

  begin(): Exchange {
    const exchange: Exchange = { kind: 'call' };
    this.#open.add(exchange);
    return exchange;
  }

  /** From now on `exchange` is waited for as a subscription. */
  becomeSubscription(exchange: Exchange): void {
    exchange.kind = 'subscription';
    this.#wake();
  }

  end(exchange: Exchange): void {
    this.#open.delete(exchange);
    this.#wake();
  }

  /** Resolves when none of these kinds is open. */
  none(...kinds: readonly Exchange['kind'][]): Promise<void> {
    return new Promise((wake) => {
      this.#waiters.push({ kinds, wake });
      this.#wake();
    });
  }

  #wake(): void {
    const open = new Set([...this.#open].map((exchange) => exchange.kind));
    this.#waiters = this.#waiters.filter(({ kinds, wake }) => {
      if (kinds.some((kind) => open.has(kind))) return true;
      wake();
      return false;
    });
  }
}
