import type { CallerSpec, ConditionSpec, RuleSpec, WindowSpec, World } from './authz-world.ts';

/** A bug, planted by what the registry is told: it then decides as a registry with this bug would. */
export interface Mutant {
  readonly name: string;
  world?(world: World): World;
  caller?(caller: CallerSpec, world: World): CallerSpec;
}

/** A rule or none, in place of another. */
type Replace = (rule: RuleSpec) => readonly RuleSpec[];

function rules(replace: Replace): (world: World) => World {
  const all = (list: readonly RuleSpec[]): readonly RuleSpec[] => {
    // What says no more whom it denies, denies nobody.
    const next = list.flatMap(replace).filter((rule) => !rule.deny || Object.keys(rule).length > 2);
    return next.some((rule) => !rule.deny) ? next : [...next, { deny: false, anonymous: false, users: ['nobody'] }];
  };
  return (world) => ({
    ...world,
    entries: world.entries.map((entry) => entry && all(entry)),
    defaultRules: typeof world.defaultRules === 'object' ? all(world.defaultRules) : world.defaultRules,
  });
}

function windows(replace: (window: WindowSpec) => readonly WindowSpec[]): (world: World) => World {
  return rules((rule) => [rule.windows === undefined ? rule : { ...rule, windows: rule.windows.flatMap(replace) }]);
}

function without(member: 'users' | 'roles' | 'scopes' | 'windows' | 'attributes' | 'arguments'): (world: World) => World {
  return rules((rule) => [Object.fromEntries(Object.entries(rule).filter(([name]) => name !== member)) as unknown as RuleSpec]);
}

function conditions(replace: (condition: ConditionSpec, deny: boolean) => ConditionSpec): (world: World) => World {
  return rules((rule) => [
    {
      ...rule,
      ...(rule.attributes === undefined ? {} : { attributes: replace(rule.attributes, rule.deny) }),
      ...(rule.arguments === undefined ? {} : { arguments: replace(rule.arguments, rule.deny) }),
    },
  ]);
}

const WINTER: Readonly<Record<string, string>> = {
  'Europe/Berlin': '+01:00',
  'America/New_York': '-05:00',
  'Australia/Lord_Howe': '+10:30',
};
const DAYS = ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'];

export const MUTANTS: readonly Mutant[] = [
  { name: 'a denial loses', world: rules((rule) => (rule.deny ? [] : [rule])) },
  { name: 'a denial is an allowance', world: rules((rule) => [{ ...rule, deny: false }]) },
  { name: 'only the first allowing rule counts', world: firstOnly },
  { name: 'the end of a window is inclusive', world: windows((window) => [{ ...window, to: window.to >= 1440 ? 1440 : window.to + 1 }]) },
  {
    name: 'the beginning of a window is exclusive',
    world: windows((window) => [window.from + 1 === window.to ? window : { ...window, from: window.from + 1 }]),
  },
  {
    name: 'the morning of a night belongs to its own day',
    world: windows((window) =>
      window.to >= window.from || window.to === 0
        ? [window]
        : [
            { ...window, to: 1440 },
            { ...window, from: 0 },
          ],
    ),
  },
  { name: 'a night does not reach the morning', world: windows((window) => [window.to < window.from ? { ...window, to: 1440 } : window]) },
  { name: 'the time zone is ignored', world: windows((window) => [{ ...window, zone: 'UTC' }]) },
  { name: 'summer time is ignored', world: windows((window) => [{ ...window, zone: WINTER[window.zone] ?? window.zone }]) },
  {
    name: 'days are off by one',
    world: windows((window) => [
      window.days === undefined ? window : { ...window, days: window.days.map((day) => DAYS[(DAYS.indexOf(day) + 1) % 7] as string) },
    ]),
  },
  {
    name: 'only the first window counts',
    world: rules((rule) => [rule.windows === undefined ? rule : { ...rule, windows: rule.windows.slice(0, 1) }]),
  },
  {
    name: 'roles are inherited by one level only',
    caller: (caller, { hierarchy }) => ({ ...caller, roles: [...caller.roles, ...caller.roles.flatMap((role) => hierarchy[role] ?? [])] }),
    world: (world) => ({ ...world, hierarchy: {} }),
  },
  { name: 'roles are not inherited', world: (world) => ({ ...world, hierarchy: {} }) },
  { name: 'roles are inherited upwards', world: upsideDown },
  { name: 'any scope is enough', world: rules((rule) => rule.scopes?.map((scope) => ({ ...rule, scopes: [scope] })) ?? [rule]) },
  {
    name: 'only the first role counts',
    world: rules((rule) => [rule.roles === undefined ? rule : { ...rule, roles: rule.roles.slice(0, 1) }]),
  },
  ...(['users', 'roles', 'scopes', 'windows', 'attributes', 'arguments'] as const).map((member) => ({
    name: `${member} are ignored`,
    world: without(member),
  })),
  { name: 'anonymous callers count as authenticated', caller: (caller) => ({ ...caller, anonymous: false }) },
  {
    name: 'a rule without members admits everybody',
    world: rules((rule) => [rule.deny || Object.keys(rule).length > 2 ? rule : { ...rule, anonymous: true }]),
  },
  { name: 'the default rule is forgotten', world: (world) => ({ ...world, defaultRules: undefined }) },
  {
    name: 'no default is no rule',
    world: (world) => ({ ...world, defaultRules: world.defaultRules === 'deny' ? undefined : world.defaultRules }),
  },
  {
    name: 'a function that fails holds in an allowing rule',
    world: conditions((condition, deny) => (condition === 'fails' && !deny ? { atLeast: -1 } : condition)),
  },
  {
    name: 'a function that fails does not hold in a denying rule',
    world: conditions((condition, deny) => (condition === 'fails' && deny ? { atLeast: 99 } : condition)),
  },
  {
    name: 'something true is yes',
    world: conditions((condition, deny) => (condition === 'says yes' && !deny ? { atLeast: -1 } : condition)),
  },
  {
    name: 'nothing said is no',
    world: conditions((condition, deny) => (condition === 'says nothing' && deny ? { atLeast: 99 } : condition)),
  },
  {
    name: 'one attribute as wanted is enough',
    world: rules((rule) =>
      typeof rule.attributes === 'object' && 'values' in rule.attributes
        ? Object.entries(rule.attributes.values).map(([name, wanted]) => ({ ...rule, attributes: { values: { [name]: wanted } } }))
        : [rule],
    ),
  },
  {
    name: 'attributes that are lists are not entered',
    caller: (caller) => ({ ...caller, attributes: { ...caller.attributes, groups: String(caller.attributes.groups) } }),
  },
  {
    name: 'values are compared as text',
    caller: (caller) => ({ ...caller, attributes: { ...caller.attributes, ...(caller.attributes.level === 1 ? { level: '1' } : {}) } }),
  },
];

function firstOnly(world: World): World {
  const first = (list: readonly RuleSpec[]) => list.filter((rule) => rule.deny || rule === list.find((one) => !one.deny));
  return {
    ...world,
    entries: world.entries.map((entry) => entry && first(entry)),
    defaultRules: typeof world.defaultRules === 'object' ? first(world.defaultRules) : world.defaultRules,
  };
}

function upsideDown(world: World): World {
  const up: Record<string, string[]> = {};
  for (const [role, included] of Object.entries(world.hierarchy)) for (const below of included) (up[below] ??= []).push(role);
  return { ...world, hierarchy: up };
}
