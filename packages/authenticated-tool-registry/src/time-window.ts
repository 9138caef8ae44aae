import { ConfigurationError } from '@mcp-blocks/core';

const DAYS = ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'] as const;

/** A day of the week. */
export type Weekday = (typeof DAYS)[number];

/**
 * Hours of the wall clock of one time zone, on some days of the week. Open from `from` (inclusive) to `to`
 * (exclusive). A window whose `to` is before its `from` goes over midnight and belongs to the day on which
 * it began. What counts is what the wall clock shows: where clocks are set back, the hour shown twice is
 * open twice; where they are set forward, the hour not shown is not open.
 */
export interface TimeWindow {
  /** The days on which the window begins. Not empty. Default: every day. */
  readonly days?: readonly Weekday[];
  /** `HH:MM`, 00:00 to 23:59. Default: `00:00`. */
  readonly from?: string;
  /** `HH:MM`, 00:00 to 24:00, either being midnight; not equal to `from`. Default: `24:00`. */
  readonly to?: string;
  /** IANA name, such as `Europe/Berlin`. */
  readonly timeZone: string;
}

/** A checked {@link TimeWindow}. */
export interface CompiledTimeWindow {
  readonly window: TimeWindow;
  /** @param time - epoch milliseconds. */
  isOpen(time: number): boolean;
}

const MEMBERS: ReadonlySet<string> = new Set(['days', 'from', 'to', 'timeZone']);
const CLOCK = /^(\d\d):(\d\d)$/;
const DAY_MINUTES = 24 * 60;

/** @throws ConfigurationError naming the member that is not as documented. */
export function compileTimeWindow(window: TimeWindow, option: string): CompiledTimeWindow {
  if (typeof window !== 'object' || window === null) throw new ConfigurationError(option, `expected a time window, got ${String(window)}`);
  for (const member of Object.keys(window)) {
    if (!MEMBERS.has(member)) throw new ConfigurationError(`${option}.${member}`, 'unknown; a time window has days, from, to, timeZone');
  }
  const { days, from: fromText = '00:00', to: toText = '24:00', timeZone } = window;
  if (days !== undefined && (!Array.isArray(days) || days.length === 0)) {
    throw new ConfigurationError(`${option}.days`, 'expected at least one day; leave it out for every day');
  }
  for (const [index, day] of (days ?? []).entries()) {
    if (!DAYS.includes(day)) throw new ConfigurationError(`${option}.days[${index}]`, `expected one of ${DAYS.join(', ')}, got '${day}'`);
  }
  const from = minutes(fromText, 0, DAY_MINUTES - 1, `${option}.from`, '00:00 to 23:59');
  const to = minutes(toText, 0, DAY_MINUTES, `${option}.to`, '00:00 to 24:00');
  if (from === to) throw new ConfigurationError(`${option}.to`, 'equals from, which would be never; leave both out for the whole day');
  const format = wallClock(timeZone, `${option}.timeZone`);
  const begins = DAYS.map((day) => days === undefined || days.includes(day));
  const copy = { ...(days === undefined ? {} : { days: Object.freeze([...days]) }), from: fromText, to: toText, timeZone };
  return {
    window: Object.freeze(copy),
    isOpen(time) {
      const { day, minute } = readWallClock(format, time);
      if (from < to) return begins[day] === true && minute >= from && minute < to;
      return (begins[day] === true && minute >= from) || (begins[(day + 6) % 7] === true && minute < to);
    },
  };
}

function minutes(text: string, least: number, most: number, option: string, range: string): number {
  const [, hours, rest] = (typeof text === 'string' && CLOCK.exec(text)) || [];
  const value = Number(hours) * 60 + Number(rest);
  if (rest === undefined || Number(rest) > 59 || value < least || value > most) {
    throw new ConfigurationError(option, `expected a time of day as HH:MM, ${range}, got ${JSON.stringify(text)}`);
  }
  return value;
}

function wallClock(timeZone: string, option: string): Intl.DateTimeFormat {
  try {
    if (typeof timeZone !== 'string') throw new RangeError('not a string');
    return new Intl.DateTimeFormat('en-US', { timeZone, weekday: 'short', hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });
  } catch {
    throw new ConfigurationError(option, `expected an IANA time zone such as Europe/Berlin, got ${JSON.stringify(timeZone)}`);
  }
}

function readWallClock(format: Intl.DateTimeFormat, time: number): { readonly day: number; readonly minute: number } {
  let day = 0;
  let minute = 0;
  for (const { type, value } of format.formatToParts(time)) {
    if (type === 'weekday') day = DAYS.indexOf(value.toLowerCase() as Weekday);
    else if (type === 'hour') minute += Number(value) * 60;
    else if (type === 'minute') minute += Number(value);
  }
  return { day, minute };
}
