import type { JsonObject, RpcResult } from '@mcp-blocks/core';
import type {
  CallToolResult,
  CompleteRequestParams,
  CompleteResult,
  GetPromptResult,
  ListPromptsResult,
  ListResourcesResult,
  ListResourceTemplatesResult,
  ListToolsResult,
  ReadResourceResult,
} from '@modelcontextprotocol/client';
import type { RequestOptions } from './config.js';

/** MCP's own requests with their types; each is a call of `request` and fails like it. */
export abstract class TypedRequests {
  abstract request(method: string, params?: JsonObject, options?: RequestOptions): Promise<RpcResult>;

  callTool(name: string, args: JsonObject = {}, options?: RequestOptions): Promise<CallToolResult> {
    return this.request('tools/call', { name, arguments: args }, options) as Promise<unknown> as Promise<CallToolResult>;
  }

  listTools(options?: RequestOptions): Promise<ListToolsResult> {
    return this.request('tools/list', {}, options) as Promise<unknown> as Promise<ListToolsResult>;
  }

  listResources(options?: RequestOptions): Promise<ListResourcesResult> {
    return this.request('resources/list', {}, options) as Promise<unknown> as Promise<ListResourcesResult>;
  }

  listResourceTemplates(options?: RequestOptions): Promise<ListResourceTemplatesResult> {
    return this.request('resources/templates/list', {}, options) as Promise<unknown> as Promise<ListResourceTemplatesResult>;
  }

  readResource(uri: string, options?: RequestOptions): Promise<ReadResourceResult> {
    return this.request('resources/read', { uri }, options) as Promise<unknown> as Promise<ReadResourceResult>;
  }

  listPrompts(options?: RequestOptions): Promise<ListPromptsResult> {
    return this.request('prompts/list', {}, options) as Promise<unknown> as Promise<ListPromptsResult>;
  }

  getPrompt(name: string, args: Readonly<Record<string, string>> = {}, options?: RequestOptions): Promise<GetPromptResult> {
    return this.request('prompts/get', { name, arguments: { ...args } }, options) as Promise<unknown> as Promise<GetPromptResult>;
  }

  /** Suggests values for an argument of a prompt or of a resource template (`completion/complete`). */
  complete(
    ref: CompleteRequestParams['ref'],
    argument: CompleteRequestParams['argument'],
    { context, ...options }: RequestOptions & { readonly context?: { readonly arguments?: Readonly<Record<string, string>> } } = {},
  ): Promise<CompleteResult> {
    const params = { ref, argument, ...(context === undefined ? {} : { context }) } as unknown as JsonObject;
    return this.request('completion/complete', params, options) as Promise<unknown> as Promise<CompleteResult>;
  }
}
