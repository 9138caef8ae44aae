import { ConfigurationError } from '@mcp-blocks/core';

/** Which roles include which others: `{ admin: ['analyst'], analyst: ['viewer'] }`. */
export class RoleHierarchy {
  readonly #included = new Map<string, ReadonlySet<string>>();

  /**
   * @param roles - for each role, the roles whose rights it has too.
   * @throws ConfigurationError when a role includes itself, directly or through others.
   */
  constructor(roles: Readonly<Record<string, readonly string[]>> = {}) {
    const direct = new Map(Object.entries(roles));
    for (const [role, inherited] of direct) {
      if (!Array.isArray(inherited) || inherited.some((name) => typeof name !== 'string')) {
        throw new ConfigurationError(`roles.${role}`, 'expected a list of role names');
      }
      const included = new Set<string>();
      const open = [...inherited];
      for (let next = open.pop(); next !== undefined; next = open.pop()) {
        if (next === role) throw new ConfigurationError(`roles.${role}`, `'${role}' includes itself`);
        if (included.has(next)) continue;
        included.add(next);
        open.push(...(direct.get(next) ?? []));
      }
      this.#included.set(role, included);
    }
  }

  /** Whether somebody with `held` has the rights of `wanted`. */
  grants(held: string, wanted: string): boolean {
    return held === wanted || this.#included.get(held)?.has(wanted) === true;
  }
}
