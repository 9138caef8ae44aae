import type { JsonObject } from '@mcp-blocks/core';
import type { AccessSubject } from './access-rule.js';

/** What an entry is. */
export type EntryKind = 'tool' | 'resource' | 'resource template' | 'prompt';

/** One question to a {@link DecisionPoint}. */
export interface DecisionRequest extends AccessSubject {
  /** `call` of a tool, `read` of a resource (subscribing too), `get` of a prompt. Completing is asked as reading or getting. */
  readonly action: 'call' | 'read' | 'get';
  readonly entry: {
    readonly kind: EntryKind;
    /** Its name, URI or URI template. */
    readonly key: string;
  };
  /**
   * As the handler will get them. Absent: may the caller use the entry at all? That is asked for every
   * entry of a list, and before a call; with arguments only what was allowed without is asked.
   */
  readonly arguments?: JsonObject;
}

/** The answer to a {@link DecisionRequest}. */
export type DecisionAnswer =
  | { readonly allow: true }
  | {
      readonly allow: false;
      /** For the audit trail; callers never see it. */
      readonly reason?: string;
    };

/**
 * A policy engine that has a say beside the rules: both must allow. Whatever goes wrong denies: a throw,
 * an answer that is none, no answer in time.
 */
export interface DecisionPoint {
  /** @param signal - aborts when the answer is no longer waited for. */
  decide(request: DecisionRequest, signal: AbortSignal): Promise<DecisionAnswer>;
  /** Many at once, answered in the same order. Without it lists ask one by one, 16 at a time. */
  decideMany?(requests: readonly DecisionRequest[], signal: AbortSignal): Promise<readonly DecisionAnswer[]>;
}

/** A question as policy engines get it: plain JSON. Of the principal it has what `Principal` has; roles as held, without inherited ones. */
export function policyInput({ principal, action, entry, environment, arguments: args }: DecisionRequest): JsonObject {
  const { id, authentication, roles, scopes, clientId, issuer, attributes } = principal;
  const who = { id, authentication, roles, scopes, clientId, issuer, attributes };
  return JSON.parse(JSON.stringify({ principal: who, action, entry, environment, arguments: args })) as JsonObject;
}
