import { ConfigurationError, type JsonObject } from '@mcp-blocks/core';

type Scalar = string | number | boolean;

/** For each member the value, or the values of which it must have one. Compared exactly. Not empty. */
export type Conditions = Readonly<Record<string, Scalar | readonly Scalar[]>>;

/** A checked, frozen copy. @throws ConfigurationError naming the member that is not as documented. */
export function checkedConditions(conditions: Conditions, option: string): Conditions {
  if (typeof conditions !== 'object' || conditions === null || Array.isArray(conditions) || Object.keys(conditions).length === 0) {
    throw new ConfigurationError(option, 'expected a function, or an object of wanted values that is not empty');
  }
  const copies = Object.entries(conditions).map(([name, wanted]) => {
    const all: readonly unknown[] = Array.isArray(wanted) ? wanted : [wanted];
    if (all.length === 0 || !all.every((value) => ['string', 'number', 'boolean'].includes(typeof value))) {
      throw new ConfigurationError(`${option}.${name}`, 'expected a string, number or boolean, or a list of them that is not empty');
    }
    return [name, Array.isArray(wanted) ? Object.freeze([...wanted]) : wanted] as const;
  });
  return Object.freeze(Object.fromEntries(copies)) as Conditions;
}

/**
 * Whether every condition holds of `source`. An absent member holds no condition.
 *
 * @param intoLists - whether a member that is a list holds when one of its elements does.
 */
export function conditionsHold(conditions: Conditions, source: JsonObject | undefined, intoLists: boolean): boolean {
  return Object.entries(conditions).every(([name, wanted]) => {
    if (source === undefined || !Object.hasOwn(source, name)) return false;
    const actual: unknown = source[name];
    const wants = (value: unknown) => (Array.isArray(wanted) ? wanted.includes(value as Scalar) : wanted === value);
    return intoLists && Array.isArray(actual) ? actual.some(wants) : wants(actual);
  });
}
