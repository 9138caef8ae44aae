import { type Principal, principalKey, type RpcContext, type RpcRequest } from '@mcp-blocks/core';
import { networkOf } from './ip-network.js';

/** What can be counted separately. */
export type RateLimitDimension = 'principal' | 'apiKey' | 'clientId' | 'ip' | 'tool' | 'method';

/** One to three dimensions. */
export type RateLimitDimensions =
  | RateLimitDimension
  | `${RateLimitDimension}+${RateLimitDimension}`
  | `${RateLimitDimension}+${RateLimitDimension}+${RateLimitDimension}`;

/** What keys are made from. */
export interface KeyParts {
  readonly principal?: Principal;
  /** A tool's name. */
  readonly tool?: string;
  readonly method?: string;
  /** The caller's address. */
  readonly remoteAddress?: string;
}

const READ: Readonly<Record<RateLimitDimension, (parts: KeyParts) => string | undefined>> = {
  principal: ({ principal }) => principal && personKey(principal),
  apiKey: ({ principal }) => (principal?.authentication === 'api-key' ? personKey(principal) : undefined),
  clientId: ({ principal }) => principal?.clientId,
  ip: ({ remoteAddress }) => (remoteAddress === undefined ? undefined : networkOf(remoteAddress)),
  tool: ({ tool }) => tool,
  method: ({ method }) => method,
};

/** Without the OAuth client: where clients register themselves, a limit for each would be none. */
function personKey(principal: Principal): string {
  const known = PERSON_KEYS.get(principal);
  if (known !== undefined) return known;
  const { clientId: _client, ...person } = principal;
  const key = principalKey(person);
  PERSON_KEYS.set(principal, key);
  return key;
}

const PERSON_KEYS = new WeakMap<Principal, string>();

export function isDimension(name: string): name is RateLimitDimension {
  return Object.hasOwn(READ, name);
}

/** Longer keys share a count with others that begin alike, so that a key's size is bounded too. */
const MAX_KEY_LENGTH = 1024;

export function boundedKey(key: string): string {
  return key.slice(0, MAX_KEY_LENGTH);
}

/** The key the parts have; `undefined` when one of the dimensions is missing. */
export function keyOf(by: RateLimitDimensions, parts: KeyParts): string | undefined {
  if (isDimension(by)) return READ[by](parts);
  const values: string[] = [];
  for (const name of by.split('+')) {
    const value = READ[name as RateLimitDimension](parts);
    if (value === undefined) return undefined;
    values.push(value);
  }
  return JSON.stringify(values);
}

export function partsOf(request: RpcRequest, context: RpcContext): KeyParts {
  const { name } = request.params;
  const { principal, remoteAddress } = context;
  const parts: { -readonly [Name in keyof KeyParts]: KeyParts[Name] } = { principal, method: request.method };
  if (request.method === 'tools/call' && typeof name === 'string') parts.tool = name;
  if (remoteAddress !== undefined) parts.remoteAddress = remoteAddress;
  return parts;
}
