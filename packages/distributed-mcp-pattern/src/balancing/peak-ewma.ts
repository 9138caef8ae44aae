import type { Random } from '@mcp-blocks/core';
import { type Balancer, type Candidate, type Picker, type PickInfo, type PickResult, unavailable } from './balancer.js';
import { twoChoices } from './two-choices.js';

/**
 * Of two nodes at random the one with the lower latency · (requests in progress + 1) / weight: what the next
 * request would cost there, as Finagle and Linkerd do. The latency is quick to rise and slow to fall, so
 * that a node that has become slow is left alone at once.
 */
export class PeakEwmaBalancer implements Balancer {
  readonly #random: Random;

  constructor(random: Random = Math.random) {
    this.#random = random;
  }

  picker<Node extends Candidate>(nodes: readonly Node[]): Picker<Node> {
    return {
      pick: ({ exclude }: PickInfo): PickResult<Node> => {
        const [first, second] = twoChoices(nodes, this.#random, exclude);
        if (first === undefined) return unavailable(nodes);
        return { kind: 'complete', node: second === undefined || isCheaper(first, second) ? first : second };
      },
    };
  }
}

/** Whether a request is no dearer at the first than at the second. */
function isCheaper(first: Candidate, second: Candidate): boolean {
  const [a, b] = [cost(first), cost(second)];
  // Both unknown, or both at no measurable cost: what is in progress decides.
  return a === b ? first.inFlight <= second.inFlight : a < b;
}

/** A node not heard of yet is tried with one request, and with no second one before that is answered. */
function cost({ latencyMs, inFlight, weight = 1 }: Candidate): number {
  if (latencyMs === undefined) return inFlight === 0 ? 0 : Number.POSITIVE_INFINITY;
  // The clock counts whole milliseconds; faster answers must not make any queue look free.
  return (Math.max(latencyMs, 1) * (inFlight + 1)) / weight;
}
