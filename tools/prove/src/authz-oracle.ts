import type { CallerSpec, ConditionSpec, Hierarchy, RuleSpec, WindowSpec, World } from './authz-world.ts';

/**
 * What the registry's README says of access, written down a second time and in another way: rules are sets
 * of facts, what is listed is what some outcome of the conditions on arguments would allow, roles are
 * closed under inclusion before anybody asks, and local time comes from the laws on clocks, not from Intl.
 */
export interface Expectation {
  readonly listed: boolean;
  readonly call: 'ran' | 'forbidden' | 'insufficient_scope' | 'unknown';
}

interface Facts {
  readonly caller: CallerSpec;
  /** Held, directly or by inclusion. */
  readonly roles: ReadonlySet<string>;
  readonly time: number;
}

/** Three-valued, for one outcome of the conditions on arguments: in, out, or in but for scopes. */
type Membership = 'in' | 'out' | 'short of scopes';

const DEFAULT: readonly RuleSpec[] = [{ deny: false, anonymous: false }];

/** What must come of one caller's visit to one entry. */
export function expected(
  world: World,
  entry: number,
  caller: CallerSpec,
  time: number,
  args: Readonly<Record<string, unknown>>,
): Expectation {
  const fallback = world.defaultRules === 'deny' ? [] : (world.defaultRules ?? DEFAULT);
  const rules = world.entries[entry] ?? fallback;
  const facts: Facts = { caller, roles: closure(caller.roles, world.hierarchy), time };
  const atBest = best(rules, facts);
  if (atBest !== 'in') return { listed: false, call: atBest === 'out' ? 'unknown' : 'insufficient_scope' };
  const outcomes = rules.map((rule) => (rule.arguments === undefined ? true : satisfied(rule.arguments, args, 'amount', false, rule.deny)));
  const now = decided(rules, facts, outcomes);
  return { listed: true, call: now === 'in' ? 'ran' : now === 'out' ? 'forbidden' : 'insufficient_scope' };
}

/** The most favourable decision over every outcome that the conditions on arguments could have. */
function best(rules: readonly RuleSpec[], facts: Facts): Membership {
  const open = rules.flatMap((rule, index) => (rule.arguments === undefined ? [] : [index]));
  const found = new Set<Membership>();
  for (let world = 0; world < 2 ** open.length; world += 1) {
    const outcomes = rules.map((_rule, index) => {
      const bit = open.indexOf(index);
      return bit < 0 || ((world >> bit) & 1) === 1;
    });
    found.add(decided(rules, facts, outcomes));
  }
  return found.has('in') ? 'in' : found.has('short of scopes') ? 'short of scopes' : 'out';
}

function decided(rules: readonly RuleSpec[], facts: Facts, outcomes: readonly boolean[]): Membership {
  const memberships = rules.map((rule, index) => membership(rule, facts, outcomes[index] === true));
  if (rules.some((rule, index) => rule.deny && memberships[index] === 'in')) return 'out';
  const allowing = memberships.filter((_membership, index) => rules[index]?.deny === false);
  return allowing.includes('in') ? 'in' : allowing.includes('short of scopes') ? 'short of scopes' : 'out';
}

function membership(rule: RuleSpec, { caller, roles, time }: Facts, argumentsHold: boolean): Membership {
  const table: readonly boolean[] = [
    rule.deny || rule.anonymous || !caller.anonymous,
    rule.users === undefined || rule.users.some((user) => user === caller.id),
    rule.roles === undefined || rule.roles.some((role) => roles.has(role)),
    rule.windows === undefined || rule.windows.some((window) => within(window, time)),
    rule.attributes === undefined || satisfied(rule.attributes, caller.attributes, 'level', true, rule.deny),
    argumentsHold,
  ];
  if (table.includes(false)) return 'out';
  const held = new Set(caller.scopes);
  return (rule.scopes ?? []).every((scope) => held.has(scope)) ? 'in' : 'short of scopes';
}

/** A function that throws, or says neither yes nor no, refuses: no member of an allowing rule, a member of a denying one. */
function satisfied(
  condition: ConditionSpec,
  source: Readonly<Record<string, unknown>>,
  measure: string,
  lists: boolean,
  denies: boolean,
): boolean {
  if (typeof condition === 'string') return denies;
  if ('atLeast' in condition) return Number(source[measure]) >= condition.atLeast;
  for (const [name, wanted] of Object.entries(condition.values)) {
    const actual = source[name];
    const candidates = Array.isArray(actual) ? (lists ? actual : []) : [actual];
    if (!candidates.some((candidate) => wanted.some((value) => value === candidate))) return false;
  }
  return true;
}

function closure(held: readonly string[], hierarchy: Hierarchy): ReadonlySet<string> {
  const all = new Set(held);
  for (let size = -1; size !== all.size; ) {
    size = all.size;
    for (const role of [...all]) for (const included of hierarchy[role] ?? []) all.add(included);
  }
  return all;
}

const MINUTE = 60_000;
const DAY = 86_400_000;
const WEEK = ['thu', 'fri', 'sat', 'sun', 'mon', 'tue', 'wed'];

/** Whether some day's opening, laid out on the axis of local minutes, covers the moment. */
function within({ days, from, to, zone }: WindowSpec, time: number): boolean {
  const local = time + offsetMinutes(zone, time) * MINUTE;
  const today = Math.floor(local / DAY);
  return [today - 1, today].some((day) => {
    if (days !== undefined && !days.includes(WEEK[day % 7] as string)) return false;
    const begins = day * DAY + from * MINUTE;
    const ends = day * DAY + (to < from ? to + 1440 : to) * MINUTE;
    return begins <= local && local < ends;
  });
}

/** The laws on clocks from 2026 to 2030. */
function offsetMinutes(zone: string, time: number): number {
  const year = new Date(time).getUTCFullYear();
  switch (zone) {
    case 'UTC':
      return 0;
    case 'Asia/Kolkata':
      return 330;
    case 'Europe/Berlin':
      // Last Sundays of March and October, 01:00 UTC.
      return time >= sunday(year, 3, -1, 60) && time < sunday(year, 10, -1, 60) ? 120 : 60;
    case 'America/New_York':
      // Second Sunday of March and first of November, 02:00 on the clock.
      return time >= sunday(year, 3, 2, 120 + 300) && time < sunday(year, 11, 1, 120 + 240) ? -240 : -300;
    case 'Australia/Lord_Howe':
      // First Sundays of April and October, 02:00 on the clock, by half an hour.
      return time >= sunday(year, 4, 1, 120 - 660) && time < sunday(year, 10, 1, 120 - 630) ? 630 : 660;
    default:
      throw new Error(`no law for ${zone}`);
  }
}

/** The moment `minutes` after the beginning, in UTC, of the nth Sunday of a month; -1 is the last. */
function sunday(year: number, month: number, nth: number, minutes: number): number {
  const first = Date.UTC(year, month - 1, 1);
  const toSunday = (7 - new Date(first).getUTCDay()) % 7;
  const last = new Date(Date.UTC(year, month, 0));
  const day = nth > 0 ? 1 + toSunday + 7 * (nth - 1) : last.getUTCDate() - last.getUTCDay();
  return Date.UTC(year, month - 1, day) + minutes * MINUTE;
}
