import { ConfigurationError, eraOf, isJsonObject, type JsonObject, RpcError } from '@mcp-blocks/core';
import { type AccessPolicy, ownPolicy } from './access-policy.js';
import type { Access } from './access-rule.js';
import { toBase64 } from './base64.js';
import { type Completer, type Completers, checkedCompleters } from './completion.js';
import { type ContentAnnotations, type InputRequiredResult, isInputRequired } from './content.js';
import type { Outcome } from './execution.js';
import type { HandlerContext } from './handler-context.js';
import { type Presentation, presented } from './presentation.js';
import { percentDecoded, UriTemplate } from './uri-template.js';

/** How long, and for whom, a client may keep what it read (MCP 2026-07-28, server/utilities/caching). */
export interface CacheHint {
  /** Milliseconds; an integer from 0. */
  readonly ttlMs: number;
  /** `public` only for resources with `allowAnonymous`: shared caches serve it to everybody. Default: `private`. */
  readonly cacheScope?: 'public' | 'private';
}

/** A resource or a resource template, less its reader. */
export interface ResourceDefinition extends Presentation {
  readonly name: string;
  readonly mimeType?: string;
  readonly annotations?: ContentAnnotations;
  /** Who may see, read and subscribe to it. Default: the registry's `defaultAccess`. */
  readonly access?: Access;
  /** Default: `{ ttlMs: 0, cacheScope: 'private' }`. */
  readonly cacheHint?: CacheHint;
}

/** A resource definition that may also tell its size. */
export interface FixedResourceDefinition extends ResourceDefinition {
  /** Bytes. */
  readonly size?: number;
}

/** A resource template, less its reader. */
export interface ResourceTemplateDefinition extends ResourceDefinition {
  /** Suggestions for the values of the template's variables. */
  readonly complete?: Completers;
}

/** One piece of a resource. `uri` defaults to the one read, `mimeType` to the registered one; bytes are sent as base64. */
export type ResourceContents = {
  readonly uri?: string;
  readonly mimeType?: string;
  readonly _meta?: JsonObject;
} & ({ readonly text: string } | { readonly blob: Uint8Array | string });

/** What a reader may return: text, contents, or `undefined` for "there is no such resource". */
export type ResourceReturn = string | ResourceContents | readonly ResourceContents[] | InputRequiredResult | undefined;

/** Reads a resource. */
export type ResourceReader = (uri: string, context: HandlerContext) => ResourceReturn | Promise<ResourceReturn>;

/** Reads a resource of a template. The values are percent-decoded and hold no `..` segment; see `UriTemplate`. */
export type ResourceTemplateReader = (
  variables: Readonly<Record<string, string>>,
  context: HandlerContext & { readonly uri: string },
) => ResourceReturn | Promise<ResourceReturn>;

/** A registered resource. */
export interface ResourceEntry {
  readonly kind: 'resource';
  /** The URI. */
  readonly key: string;
  readonly definition: JsonObject;
  readonly version: string | undefined;
  /** Its own rules; `setAccess` of the registry replaces them. */
  access: AccessPolicy | undefined;
  readonly takesArguments: boolean;
  readonly cacheHint: Required<CacheHint>;
  readonly mimeType: string | undefined;
  /** The URI, percent-decoded. */
  readonly plainUri: string;
  readonly read: ResourceReader;
}

/** A registered resource template. */
export interface ResourceTemplateEntry extends Omit<ResourceEntry, 'kind' | 'plainUri' | 'read'> {
  readonly kind: 'resource template';
  readonly template: UriTemplate;
  readonly completers: ReadonlyMap<string, Completer>;
  readonly read: ResourceTemplateReader;
}

const SHOWN = ['name', 'title', 'description', 'mimeType', 'icons', 'annotations'] as const;
const SCHEME = /^[A-Za-z][A-Za-z0-9+.-]*:/;

/** @throws ConfigurationError naming what is wrong with the registration. */
export function resourceEntry(
  uri: string,
  definition: FixedResourceDefinition,
  read: ResourceReader,
  defaultAccess: AccessPolicy,
): ResourceEntry {
  if (typeof uri !== 'string' || !SCHEME.test(uri)) throw new ConfigurationError('resource', `expected an absolute URI, got '${uri}'`);
  const at = `resource '${uri}'`;
  const common = commonEntry(at, definition, read, defaultAccess);
  return {
    kind: 'resource',
    key: uri,
    takesArguments: false,
    version: definition.version,
    ...common,
    definition: { uri, ...presented(definition, [...SHOWN, 'size'], at) },
    plainUri: percentDecoded(uri),
    read,
  };
}

/** @throws ConfigurationError naming what is wrong with the registration. */
export function resourceTemplateEntry(
  uriTemplate: string,
  definition: ResourceTemplateDefinition,
  read: ResourceTemplateReader,
  defaultAccess: AccessPolicy,
): ResourceTemplateEntry {
  const template = new UriTemplate(uriTemplate);
  const at = `resource template '${uriTemplate}'`;
  const common = commonEntry(at, definition, read, defaultAccess);
  const completers = checkedCompleters(definition.complete, template.variables, `${at}.complete`);
  return {
    kind: 'resource template',
    key: uriTemplate,
    takesArguments: true,
    version: definition.version,
    ...common,
    definition: { uriTemplate, ...presented(definition, SHOWN, at) },
    template,
    completers,
    read,
  };
}

function commonEntry(at: string, { name, access, cacheHint, mimeType }: ResourceDefinition, read: unknown, defaultAccess: AccessPolicy) {
  if (typeof name !== 'string' || name === '') throw new ConfigurationError(`${at}.name`, 'expected a non-empty string');
  if (typeof read !== 'function') throw new ConfigurationError(at, 'expected a function as the last argument');
  const policy = ownPolicy(access, `${at}.access`);
  const { ttlMs = 0, cacheScope = 'private' } = cacheHint ?? {};
  if (!Number.isSafeInteger(ttlMs) || ttlMs < 0)
    throw new ConfigurationError(`${at}.cacheHint.ttlMs`, `expected an integer from 0, got ${ttlMs}`);
  checkedCacheScope(cacheScope, policy ?? defaultAccess, at);
  return { access: policy, cacheHint: { ttlMs, cacheScope }, mimeType };
}

/** @throws ConfigurationError for `public` where not everybody may read: shared caches ignore the rules. */
export function checkedCacheScope(cacheScope: string, access: AccessPolicy, at: string): void {
  if (cacheScope === 'private') return;
  if (cacheScope !== 'public') throw new ConfigurationError(`${at}.cacheHint.cacheScope`, "expected 'public' or 'private'");
  if (!access.isPublic) {
    throw new ConfigurationError(
      `${at}.cacheHint.cacheScope`,
      "'public' needs access { allowAnonymous: true } without conditions: shared caches ignore the rules",
    );
  }
}

/** The error of a resource that does not exist, or that the caller may not know of (MCP 2026-07-28, server/resources). */
export function resourceNotFound(uri: string, auditReason: string): RpcError {
  return new RpcError('resource_not_found', 'Resource not found', { data: { uri }, auditReason });
}

/** Makes a `resources/read` result of what a reader returned. Throws an `Error` when it is nothing of the kind. */
export function toReadOutcome(
  uri: string,
  { cacheHint, mimeType }: Pick<ResourceEntry, 'cacheHint' | 'mimeType'>,
  returned: ResourceReturn,
  context: HandlerContext,
): Outcome {
  if (returned === undefined) throw resourceNotFound(uri, 'the reader knows no such resource');
  if (isInputRequired(returned)) return { result: { ...returned } as JsonObject };
  const pieces = typeof returned === 'string' ? [{ text: returned }] : Array.isArray(returned) ? returned : [returned];
  const contents = pieces.map((piece: ResourceContents): JsonObject => {
    if (!isJsonObject(piece)) throw new Error(`the reader returned ${String(piece)}, which is not resource contents`);
    const { uri: own = uri, mimeType: type = mimeType, _meta } = piece;
    return { uri: own, ...(type === undefined ? {} : { mimeType: type }), ...body(piece), ...(_meta === undefined ? {} : { _meta }) };
  });
  if (eraOf(context.protocolVersion) === 'legacy') return { result: { contents } };
  // The result of a retry depends on answers that are no part of a cache's key.
  const isRetry = context.inputResponses !== undefined || context.requestState !== undefined;
  return { result: { contents, ...(isRetry ? { ttlMs: 0, cacheScope: 'private' } : cacheHint) } };
}

function body(piece: ResourceContents): JsonObject {
  if ('text' in piece && typeof piece.text === 'string') return { text: piece.text };
  if ('blob' in piece && typeof piece.blob === 'string') return { blob: piece.blob };
  if ('blob' in piece && piece.blob instanceof Uint8Array) return { blob: toBase64(piece.blob) };
  throw new Error('the reader returned contents with neither text nor blob');
}
