/** Something a gateway left out of its answers. */
export type GatewayProblem =
  /** A service did not answer a list; what it offers is missing from the answer. */
  | { readonly kind: 'unreachable'; readonly service: string; readonly method: string; readonly error: Error }
  /** Two services offer the same name or URI; the first in the order of `services` keeps it. */
  | { readonly kind: 'collision'; readonly method: string; readonly name: string; readonly keptBy: string; readonly refusedFrom: string }
  /** A service lists something that is not of the protocol. Passed on, it would make the whole list unreadable. */
  | { readonly kind: 'malformed'; readonly method: string; readonly service: string; readonly name: string };
