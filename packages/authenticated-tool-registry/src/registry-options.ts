import type { AuditSink, Clock, StateStore } from '@mcp-blocks/core';
import type { Access } from './access-rule.js';
import type { DecisionPoint } from './decision-point.js';
import type { RequestStateOptions } from './request-state.js';

/** A capability that a registry can declare. */
export type RegistryCapability = 'tools' | 'resources' | 'prompts' | 'completions' | 'logging';

/** Options of {@link AuthenticatedToolRegistry}. */
export interface AuthenticatedToolRegistryOptions {
  /** The service's name in `server/discover` and `initialize`. */
  readonly name: string;
  readonly version: string;
  readonly title?: string;
  /** Shown to the model by hosts: how to use the service. */
  readonly instructions?: string;
  /** Where registrations, denials and executions are recorded. Default: nowhere. */
  readonly audit?: AuditSink;
  /**
   * The rules of entries that have none. Default: `{}`, every authenticated caller and nobody else.
   * `'deny'` hides such entries from everybody.
   */
  readonly defaultAccess?: Access | 'deny';
  /** For each role, the roles whose rights it has too: `{ admin: ['analyst'] }`. Default: no inheritance. */
  readonly roles?: Readonly<Record<string, readonly string[]>>;
  /** A policy engine that has a say beside the rules: both must allow, and its failure denies. Default: none. */
  readonly decisionPoint?: DecisionPoint;
  /** How long the decision point may take for an answer, or for one batch; milliseconds, an integer from 1. Default: 2,000. */
  readonly decisionTimeoutMs?: number;
  /** Counts what tools with a `quota` have been called. Shared by all servers of a service. Default: none, and no tool may have a quota. */
  readonly quotaStore?: StateStore;
  /** Seals the states that handlers leave with clients. Default: handlers see to that themselves. */
  readonly requestState?: RequestStateOptions;
  /**
   * Declared although nothing of the kind is registered yet; what is registered is declared anyway.
   * `logging` is declared only if named here, and lets `context.log` reach callers.
   */
  readonly capabilities?: readonly RegistryCapability[];
  /** Entries in one page of a list; an integer from 1. Default: 100. */
  readonly pageSize?: number;
  /** Milliseconds for which clients may keep a list; an integer from 0. Default: 0. */
  readonly listTtlMs?: number;
  /** Largest arguments of a call, as UTF-8 JSON; an integer from 2. Default: 1 MiB. */
  readonly maxArgumentBytes?: number;
  /** Deepest nesting of the arguments, which are themselves 1; an integer from 1. Default: 32. */
  readonly maxArgumentDepth?: number;
  /** Told of failures whose details callers do not see. Default: nobody; the audit trail has the reason. */
  readonly onError?: (error: Error) => void;
  /** Default: the machine's. */
  readonly clock?: Clock;
}
