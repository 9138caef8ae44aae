import type { JsonObject, JsonValue } from '@mcp-blocks/core';

/** Hints on how to use a piece of content (MCP 2026-07-28, server/resources, "Annotations"). */
export interface ContentAnnotations {
  readonly audience?: readonly ('user' | 'assistant')[];
  /** From 0, entirely optional, to 1, most important. */
  readonly priority?: number;
  /** ISO 8601. */
  readonly lastModified?: string;
}

/** An icon of an entry. */
export interface Icon {
  readonly src: string;
  readonly mimeType?: string;
  readonly sizes?: readonly string[];
}

interface BlockExtras {
  readonly annotations?: ContentAnnotations;
  readonly _meta?: JsonObject;
}

/** Text or base64 bytes of a resource, as MCP sends them. */
export type EmbeddedContents = { readonly uri: string; readonly mimeType?: string } & (
  | { readonly text: string }
  | { readonly blob: string }
) &
  BlockExtras;

/** One block of a tool's result or of a prompt's message. */
export type ContentBlock = BlockExtras &
  (
    | { readonly type: 'text'; readonly text: string }
    | { readonly type: 'image' | 'audio'; readonly data: string; readonly mimeType: string }
    | {
        readonly type: 'resource_link';
        readonly uri: string;
        readonly name: string;
        readonly description?: string;
        readonly mimeType?: string;
      }
    | { readonly type: 'resource'; readonly resource: EmbeddedContents }
  );

/**
 * The request for more input that a tool, a reader or a prompt may answer with (MCP 2026-07-28,
 * basic/patterns/mrtr). `inputRequired(…)` of `@modelcontextprotocol/server` builds one.
 */
export interface InputRequiredResult {
  readonly resultType: 'input_required';
  readonly inputRequests?: object | undefined;
  /** With the registry's `requestState` option any JSON value, which is then sealed; without it a string. */
  readonly requestState?: JsonValue | undefined;
}

/** Whether a handler answered with a request for input. */
export function isInputRequired(value: unknown): value is InputRequiredResult {
  return typeof value === 'object' && value !== null && (value as { resultType?: unknown }).resultType === 'input_required';
}
