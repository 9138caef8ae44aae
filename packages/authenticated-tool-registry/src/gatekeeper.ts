import type { Caller, Clock, JsonObject, RpcContext } from '@mcp-blocks/core';
import type { AccessPolicy, Decision } from './access-policy.js';
import type { DecisionClient } from './decision-client.js';
import type { DecisionRequest, EntryKind } from './decision-point.js';
import type { RoleHierarchy } from './role-hierarchy.js';

/** An entry as far as access to it goes. */
export interface Guarded {
  readonly kind: EntryKind;
  /** Its name, URI or URI template. */
  readonly key: string;
  /** Its own rules. Absent: the registry's default. */
  readonly access: AccessPolicy | undefined;
  readonly takesArguments: boolean;
}

/** What the gatekeeper decides by. */
export interface GatekeeperParts {
  readonly defaultAccess: AccessPolicy;
  readonly roles: RoleHierarchy;
  readonly clock: Clock;
  /** Absent: the rules alone decide. */
  readonly decisionPoint: DecisionClient | undefined;
}

/** Which entries of a list a caller sees. */
export interface Visibility {
  readonly visible: readonly boolean[];
  /** Why some are hidden that might not be: the decision point failed. */
  readonly failure?: string;
}

const ACTIONS = { tool: 'call', resource: 'read', 'resource template': 'read', prompt: 'get' } as const;

/** Decides who may use what, for lists and calls alike. The rules come first: what they deny, no decision point is asked about. */
export class Gatekeeper {
  readonly #parts: GatekeeperParts;

  constructor(parts: GatekeeperParts) {
    this.#parts = parts;
  }

  /** Whether the caller may use the entry at all: the question of lists, and of calls before their arguments are looked at. */
  decide(entry: Guarded, context: RpcContext): Decision | Promise<Decision> {
    return this.#decide(entry, context, undefined);
  }

  /** Whether the caller, who may use the entry at all, may do so with these arguments. */
  admit(entry: Guarded, context: RpcContext, args: JsonObject): Decision | Promise<Decision> {
    return this.#decide(entry, context, args);
  }

  /** {@link decide} for many. */
  async visible(entries: readonly Guarded[], context: RpcContext): Promise<Visibility> {
    const byRules = entries.map((entry) => this.#byRules(entry, context, undefined).allowed);
    const { decisionPoint } = this.#parts;
    if (decisionPoint === undefined) return { visible: byRules };
    const open = entries.filter((_entry, index) => byRules[index]);
    const verdicts = await decisionPoint.askMany(open.map((entry) => this.#question(entry, context, undefined)));
    const shown = new Set(open.filter((_entry, index) => verdicts[index]?.allowed === true));
    const failed = verdicts.find((verdict) => !verdict.allowed && verdict.failed === true);
    return {
      visible: entries.map((entry) => shown.has(entry)),
      ...(failed === undefined || failed.allowed ? {} : { failure: failed.reason }),
    };
  }

  /** A promise only where somebody else is asked: most calls have nothing to wait for. */
  #decide(entry: Guarded, context: RpcContext, args: JsonObject | undefined): Decision | Promise<Decision> {
    const byRules = this.#byRules(entry, context, args);
    const { decisionPoint } = this.#parts;
    // A denial that tells of scopes tells that the entry exists, so it takes the decision point's consent too.
    if (decisionPoint === undefined || (!byRules.allowed && byRules.scopes === undefined)) return byRules;
    // Without arguments there is one question, asked already.
    if (args !== undefined && !entry.takesArguments) return byRules;
    return decisionPoint.ask(this.#question(entry, context, args)).then((verdict) => (verdict.allowed ? byRules : verdict));
  }

  /** {@link decide} as far as it can be told at once: a decision point is not asked. */
  allowsByRules(entry: Guarded, caller: Caller): boolean {
    return this.#byRules(entry, caller, undefined).allowed;
  }

  /** Whether rules that are not about using an entry hold for the caller. */
  holds(policy: AccessPolicy, context: RpcContext, args: JsonObject): boolean {
    return policy.decide({ ...this.#subject(context), arguments: args }, this.#parts.roles).allowed;
  }

  #byRules({ access }: Guarded, context: Caller, args: JsonObject | undefined): Decision {
    const { principal, environment } = this.#subject(context);
    const request = args === undefined ? { principal, environment } : { principal, environment, arguments: args };
    return (access ?? this.#parts.defaultAccess).decide(request, this.#parts.roles);
  }

  #question({ kind, key }: Guarded, context: RpcContext, args: JsonObject | undefined): DecisionRequest {
    return { ...this.#subject(context), action: ACTIONS[kind], entry: { kind, key }, ...(args === undefined ? {} : { arguments: args }) };
  }

  #subject({ principal, transport, remoteAddress }: Caller) {
    const time = this.#parts.clock.now();
    const environment = remoteAddress === undefined ? { time, transport } : { time, transport, remoteAddress };
    return { principal, environment };
  }
}
