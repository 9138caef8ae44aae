import {
  type Access,
  type AccessRule,
  AuthenticatedToolRegistry,
  type Schema,
  type TimeWindow,
} from '@mcp-blocks/authenticated-tool-registry';
import { anonymous, isRpcError, type JsonObject, type Principal, type RpcContext } from '@mcp-blocks/core';
import type { Expectation } from './authz-oracle.ts';
import type { CallerSpec, ConditionSpec, RuleSpec, WindowSpec, World } from './authz-world.ts';

/** A registry over a world, asked as its clients ask it. */
export class Subject {
  readonly #registry: AuthenticatedToolRegistry;
  #now = 0;

  constructor({ hierarchy, entries, defaultRules }: World) {
    this.#registry = new AuthenticatedToolRegistry({
      name: 'world',
      version: '1',
      roles: hierarchy,
      clock: { now: () => this.#now, setTimeout: () => () => {} },
      ...(defaultRules === undefined ? {} : { defaultAccess: defaultRules === 'deny' ? defaultRules : accessOf(defaultRules) }),
    });
    for (const [index, rules] of entries.entries()) {
      this.#registry.tool(nameOf(index), { input: ANYTHING, ...(rules === undefined ? {} : { access: accessOf(rules) }) }, () => 'ran');
    }
  }

  /** What one caller sees listed, and what comes of calling each entry. */
  async visit(caller: CallerSpec, time: number, args: readonly Readonly<Record<string, unknown>>[]): Promise<readonly Expectation[]> {
    this.#now = time;
    const context = contextOf(caller);
    const { tools } = await this.#registry.handler({ method: 'tools/list', params: {} }, context);
    const listed = new Set((tools as JsonObject[]).map((tool) => tool.name));
    const seen: Expectation[] = [];
    for (const [index, own] of args.entries()) {
      const name = nameOf(index);
      seen.push({ listed: listed.has(name), call: await this.#call(name, own as JsonObject, context) });
    }
    return seen;
  }

  async #call(name: string, args: JsonObject, context: RpcContext): Promise<Expectation['call']> {
    try {
      const { content } = await this.#registry.handler({ method: 'tools/call', params: { name, arguments: args } }, context);
      if ((content as { text?: string }[])[0]?.text === 'ran') return 'ran';
      throw new Error(`'${name}' answered ${JSON.stringify(content)}`);
    } catch (error) {
      if (!isRpcError(error)) throw error;
      if (error.code === 'forbidden' || error.code === 'insufficient_scope') return error.code;
      if (error.code === 'invalid_params' && error.message === `Unknown tool: ${name}`) return 'unknown';
      throw error;
    }
  }
}

const ANYTHING: Schema<JsonObject> = {
  '~standard': {
    version: 1,
    vendor: 'prove',
    validate: (value) => ({ value: value as JsonObject }),
    jsonSchema: { input: () => ({ type: 'object' }), output: () => ({ type: 'object' }) },
  },
};

const signal = new AbortController().signal;

function contextOf({ id, anonymous: isAnonymous, roles, scopes, attributes }: CallerSpec): RpcContext {
  const principal: Principal = isAnonymous ? anonymous : { id, authentication: 'jwt', roles, scopes, attributes: attributes as JsonObject };
  return { principal, transport: 'memory', protocolVersion: '2026-07-28', signal, notify: () => Promise.resolve() };
}

function nameOf(index: number): string {
  return `t${String(index).padStart(2, '0')}`;
}

function accessOf(rules: readonly RuleSpec[]): Access {
  const [first] = rules;
  return rules.length === 1 && first !== undefined ? ruleOf(first) : rules.map(ruleOf);
}

function ruleOf({ deny, anonymous: open, users, roles, scopes, windows, attributes, arguments: args }: RuleSpec): AccessRule {
  const [first, ...others] = (windows ?? []).map(windowOf);
  return {
    ...(deny ? { effect: 'deny' } : {}),
    ...(open ? { allowAnonymous: true } : {}),
    ...(users === undefined ? {} : { users }),
    ...(roles === undefined ? {} : { roles }),
    ...(scopes === undefined ? {} : { scopes }),
    ...(first === undefined ? {} : { time: others.length === 0 ? first : [first, ...others] }),
    ...(attributes === undefined
      ? {}
      : {
          attributes: conditionOf(
            attributes,
            (atLeast) =>
              ({ principal }) =>
                Number(principal.attributes?.level) >= atLeast,
          ),
        }),
    ...(args === undefined ? {} : { arguments: conditionOf(args, (atLeast) => (given) => Number(given.amount) >= atLeast) }),
  };
}

function conditionOf<F>(condition: ConditionSpec, reaching: (atLeast: number) => F): F | Record<string, string[]> {
  if (typeof condition === 'string') {
    return (() => {
      if (condition === 'fails') throw new Error(condition);
      return condition === 'says yes' ? 'yes' : undefined;
    }) as F;
  }
  return 'atLeast' in condition ? reaching(condition.atLeast) : (condition.values as Record<string, string[]>);
}

function windowOf({ days, from, to, zone }: WindowSpec): TimeWindow {
  const text = (minutes: number) => `${String(Math.floor(minutes / 60)).padStart(2, '0')}:${String(minutes % 60).padStart(2, '0')}`;
  return {
    from: text(from),
    to: text(to),
    timeZone: zone,
    ...(days === undefined ? {} : { days: days as NonNullable<TimeWindow['days']> }),
  };
}
