/** Who may be asked about, as plain data: neither the registry's types nor the oracle's. */

export interface WindowSpec {
  readonly days?: readonly string[];
  /** Minutes after midnight; `to` up to 1440. */
  readonly from: number;
  readonly to: number;
  readonly zone: string;
}

/** Wanted values by name; a number the level or amount must reach at least; or a function that is no use: it throws, or answers neither true nor false. */
export type ConditionSpec =
  | { readonly values: Readonly<Record<string, readonly unknown[]>> }
  | { readonly atLeast: number }
  | 'fails'
  | 'says yes'
  | 'says nothing';

export interface RuleSpec {
  readonly deny: boolean;
  readonly anonymous: boolean;
  readonly users?: readonly string[];
  readonly roles?: readonly string[];
  readonly scopes?: readonly string[];
  readonly windows?: readonly WindowSpec[];
  readonly attributes?: ConditionSpec;
  readonly arguments?: ConditionSpec;
}

export interface CallerSpec {
  readonly id: string;
  readonly anonymous: boolean;
  readonly roles: readonly string[];
  readonly scopes: readonly string[];
  readonly attributes: Readonly<Record<string, unknown>>;
}

export type Hierarchy = Readonly<Record<string, readonly string[]>>;

/** Entries with their rules, and visits to them. */
export interface World {
  readonly hierarchy: Hierarchy;
  /** Of each entry; absent: the default rule. */
  readonly entries: readonly (readonly RuleSpec[] | undefined)[];
  readonly defaultRules: readonly RuleSpec[] | 'deny' | undefined;
  readonly visits: readonly Visit[];
}

/** One caller at one moment, calling every entry with arguments of its own. */
export interface Visit {
  readonly caller: CallerSpec;
  readonly time: number;
  readonly arguments: readonly Readonly<Record<string, unknown>>[];
}

const ENTRIES = 12;
const VISITS = 20;
export const DECISIONS_PER_WORLD = ENTRIES * VISITS;

const USERS = ['ada', 'bob', 'eve'];
const ROLES = ['chief', 'lead', 'clerk', 'guest'];
const SCOPES = ['read', 'write', 'admin'];
const DAYS = ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'];
const ZONES = ['UTC', 'Asia/Kolkata', 'Europe/Berlin', 'America/New_York', 'Australia/Lord_Howe'];
const HIERARCHIES: readonly Hierarchy[] = [
  {},
  { chief: ['lead'], lead: ['clerk'], clerk: ['guest'] },
  { chief: ['clerk', 'lead'], lead: ['guest'] },
];
/** Changes of clocks in some of the zones, where mistakes would be. */
const CHANGES = [
  '2026-03-29T01:00Z',
  '2026-10-25T01:00Z',
  '2027-03-14T07:00Z',
  '2027-11-07T06:00Z',
  '2028-04-01T15:00Z',
  '2028-09-30T15:30Z',
].map(Date.parse);
const HALF_HOUR = 1_800_000;

/** Worlds made from a seed: the same seed gives the same worlds. */
export class WorldMaker {
  #state: number;

  constructor(seed: number) {
    this.#state = seed;
  }

  next(): World {
    return {
      hierarchy: this.#one(HIERARCHIES),
      entries: this.#many(ENTRIES, () => (this.#chance(0.1) ? undefined : this.#rules())),
      defaultRules: this.#chance(0.3) ? undefined : this.#chance(0.2) ? 'deny' : this.#rules(),
      visits: this.#many(VISITS, () => ({
        caller: this.#caller(),
        time: this.#time(),
        arguments: this.#many(ENTRIES, () => ({
          amount: this.#whole(4),
          ...(this.#chance(0.8) ? { region: this.#one<unknown>(['eu', 'us', ['eu']]) } : {}),
        })),
      })),
    };
  }

  #rules(): readonly RuleSpec[] {
    const allow = this.#many(1 + this.#whole(2), () => this.#rule(false));
    const deny = this.#many(this.#chance(0.4) ? 1 + this.#whole(2) : 0, () => this.#rule(true));
    return this.#chance(0.5) ? [...allow, ...deny] : [...deny, ...allow];
  }

  #rule(deny: boolean): RuleSpec {
    const anonymous = !deny && this.#chance(0.15);
    const rule: RuleSpec = {
      deny,
      anonymous,
      ...(!anonymous && this.#chance(0.2) ? { users: this.#some(USERS) } : {}),
      ...(!anonymous && this.#chance(0.4) ? { roles: this.#some(ROLES) } : {}),
      ...(!anonymous && this.#chance(0.3) ? { scopes: this.#some(SCOPES) } : {}),
      ...(this.#chance(0.3) ? { windows: this.#many(1 + this.#whole(2), () => this.#window()) } : {}),
      ...(this.#chance(0.25) ? { attributes: this.#condition({ region: ['eu', 'us'], groups: ['sales', 'law'], level: [1, '1'] }) } : {}),
      ...(this.#chance(0.3) ? { arguments: this.#condition({ region: ['eu', 'us'], amount: [1, 2] }) } : {}),
    };
    // A denial says whom it denies.
    return deny && Object.keys(rule).length === 2 ? { ...rule, roles: this.#some(ROLES) } : rule;
  }

  #window(): WindowSpec {
    const from = this.#whole(48) * 30;
    const other = this.#chance(0.2) ? 1440 : this.#whole(48) * 30;
    const to = other === from ? (from + 30) % 1440 : other;
    return { from, to, zone: this.#one(ZONES), ...(this.#chance(0.6) ? { days: this.#some(DAYS) } : {}) };
  }

  #condition(names: Readonly<Record<string, readonly unknown[]>>): ConditionSpec {
    if (this.#chance(0.2)) return this.#one(['fails', 'says yes', 'says nothing']);
    if (this.#chance(0.3)) return { atLeast: this.#whole(4) };
    const picked = this.#some(Object.keys(names));
    return { values: Object.fromEntries(picked.map((name) => [name, this.#some(names[name] ?? [])])) };
  }

  #caller(): CallerSpec {
    if (this.#chance(0.12)) return { id: 'anonymous', anonymous: true, roles: [], scopes: [], attributes: {} };
    const attributes = {
      level: this.#whole(4),
      ...(this.#chance(0.7) ? { region: this.#one(['eu', 'us', 'ap']) } : {}),
      ...(this.#chance(0.7) ? { groups: this.#subset(['sales', 'law', 'ops']) } : {}),
    };
    return { id: this.#one(USERS), anonymous: false, roles: this.#subset(ROLES), scopes: this.#subset(SCOPES), attributes };
  }

  /** On half hours and a moment beside them, where windows begin and end; often near a change of clocks. */
  #time(): number {
    const near = this.#one(CHANGES);
    const start = this.#chance(0.3) ? near + (this.#whole(13) - 6) * HALF_HOUR : near + this.#whole(17_520) * HALF_HOUR;
    return start + this.#one([0, 0, -1, 1, 60_000, this.#whole(HALF_HOUR)]);
  }

  #some<T>(items: readonly T[]): readonly T[] {
    const picked = this.#subset(items);
    return picked.length > 0 ? picked : [this.#one(items)];
  }

  #subset<T>(items: readonly T[]): readonly T[] {
    return items.filter(() => this.#chance(0.4));
  }

  #many<T>(count: number, make: () => T): T[] {
    return Array.from({ length: count }, make);
  }

  #one<T>(items: readonly T[]): T {
    return items[this.#whole(items.length)] as T;
  }

  #chance(probability: number): boolean {
    return this.#random() < probability;
  }

  #whole(below: number): number {
    return Math.floor(this.#random() * below);
  }

  /** Mulberry32. */
  #random(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  }
}
