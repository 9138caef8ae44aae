import type { Clock, JsonObject, RpcContext } from '@mcp-blocks/core';
import type { AccessPolicy, Decision } from './access-policy.js';
import type { RoleHierarchy } from './role-hierarchy.js';

/** What an entry is. */
export type EntryKind = 'tool' | 'resource' | 'resource template' | 'prompt';

/** An entry as far as access to it goes. */
export interface Guarded {
  readonly kind: EntryKind;
  /** Its name, URI or URI template. */
  readonly key: string;
  /** Its own rules. Absent: the registry's default. */
  readonly access: AccessPolicy | undefined;
}

/** Decides who may use what, for lists and calls alike. */
export class Gatekeeper {
  readonly defaultAccess: AccessPolicy;
  readonly #roles: RoleHierarchy;
  readonly #clock: Clock;

  constructor(defaultAccess: AccessPolicy, roles: RoleHierarchy, clock: Clock) {
    this.defaultAccess = defaultAccess;
    this.#roles = roles;
    this.#clock = clock;
  }

  /** @param args - as the handler will get them; absent where they are not known. */
  decide(entry: Guarded, context: RpcContext, args?: JsonObject): Decision {
    const { principal, transport, remoteAddress } = context;
    const environment = { time: this.#clock.now(), transport, ...(remoteAddress === undefined ? {} : { remoteAddress }) };
    const request = { principal, environment, ...(args === undefined ? {} : { arguments: args }) };
    return (entry.access ?? this.defaultAccess).decide(request, this.#roles);
  }
}
