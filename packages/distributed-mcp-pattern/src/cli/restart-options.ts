import { canonicalJson, type JsonValue } from '@mcp-blocks/core';
import type { GatewayFile } from './config/schema.js';

/** What belongs to the open ports and files of a running gateway. Of `authentication.oauth` all but the verifier does. */
const FIXED = ['name', 'version', 'title', 'instructions', 'listen', 'limits', 'openCalls', 'audit', 'state'] as const;

/** `next` with what cannot change while the gateway runs as in `current`, and the paths in which they differ there. */
export function keepFixedOptions(
  current: GatewayFile,
  next: GatewayFile,
): { readonly file: GatewayFile; readonly ignored: readonly string[] } {
  const ignored = FIXED.flatMap((name) => differences(current[name], next[name], name));
  const [oauth, nextOauth] = [current.authentication.oauth, next.authentication.oauth];
  const kept = keptOauth(oauth, nextOauth);
  const { jwt: _jwt, introspection: _introspection, ...fixed } = oauth ?? {};
  const { jwt: _nextJwt, introspection: _nextIntrospection, ...nextFixed } = nextOauth ?? {};
  ignored.push(...differences(oauth && fixed, nextOauth && nextFixed, 'authentication.oauth'));
  const { oauth: _next, ...authentication } = next.authentication;
  const file: Record<string, unknown> = { ...next, authentication: { ...authentication, ...(kept === undefined ? {} : { oauth: kept }) } };
  for (const name of FIXED) {
    delete file[name];
    if (current[name] !== undefined) file[name] = current[name];
  }
  return { file: file as GatewayFile, ignored };
}

type OauthEntry = GatewayFile['authentication']['oauth'];

function keptOauth(current: OauthEntry, next: OauthEntry): OauthEntry {
  if (current === undefined || next === undefined) return current;
  const { jwt: _jwt, introspection: _introspection, ...fixed } = current;
  const { jwt, introspection } = next;
  return { ...fixed, ...(jwt === undefined ? {} : { jwt }), ...(introspection === undefined ? {} : { introspection }) };
}

function differences(before: unknown, after: unknown, path: string): string[] {
  if (isObject(before) && isObject(after)) {
    const keys = [...new Set([...Object.keys(before), ...Object.keys(after)])];
    return keys.flatMap((key) => differences(before[key], after[key], `${path}.${key}`));
  }
  return textOf(before) === textOf(after) ? [] : [path];
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function textOf(value: unknown): string | undefined {
  return value === undefined ? undefined : canonicalJson(value as JsonValue);
}
