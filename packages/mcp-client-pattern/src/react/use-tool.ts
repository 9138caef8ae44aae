import { type JsonObject, RpcError } from '@mcp-blocks/core';
import type { CallToolResult } from '@modelcontextprotocol/client';
import { useMemo } from 'react';
import type { RequestOptions } from '../config.js';
import type { MCPClientPattern } from '../mcp-client-pattern.js';
import { useMCPClient } from './client-provider.js';
import { Observable, type Source, useSource } from './observable.js';

/** How far a call has come. */
export type ToolProgress = Parameters<NonNullable<RequestOptions['onProgress']>>[0];

/** What has become of the newest call. */
export type ToolCallState =
  | { readonly status: 'idle'; readonly result: undefined; readonly error: undefined; readonly progress: undefined }
  | { readonly status: 'pending'; readonly result: undefined; readonly error: undefined; readonly progress: ToolProgress | undefined }
  /** The tool has answered; with `result.isError`, that it failed. */
  | { readonly status: 'success'; readonly result: CallToolResult; readonly error: undefined; readonly progress: undefined }
  | { readonly status: 'error'; readonly result: undefined; readonly error: Error; readonly progress: undefined };

/** What {@link useTool} gives: the state of the newest call and the ways to change it. */
export type UseTool = ToolCallState & {
  /**
   * Calls the tool; fails as `MCPClientPattern.request` does, and with `cancelled` when the component is unmounted.
   * Nobody has to handle the rejection: it shows as `error`. Stays the same function from render to render.
   *
   * @param options - with `useCache: true` no progress is asked for, since a kept result has none.
   */
  readonly call: (args?: JsonObject, options?: RequestOptions) => Promise<CallToolResult>;
  /** Cancels calls in progress; the state is `idle` again. */
  readonly reset: () => void;
};

const NOTHING = { result: undefined, error: undefined, progress: undefined };
const IDLE: ToolCallState = { ...NOTHING, status: 'idle' };

/**
 * Calls a tool and shows what becomes of it. A call made while another is in progress does not stop that one, but
 * the state is the newer one's. Calls in progress are cancelled when the component is unmounted.
 */
export function useTool(name: string): UseTool {
  const client = useMCPClient();
  const calls = useMemo(() => new ToolCalls(client, name), [client, name]);
  const state = useSource(calls, IDLE);
  return { ...state, call: calls.call, reset: calls.reset };
}

class ToolCalls implements Source<ToolCallState> {
  readonly #client: MCPClientPattern;
  readonly #name: string;
  readonly #state = new Observable<ToolCallState>(IDLE);
  readonly #pending = new Set<AbortController>();
  #newest: AbortController | undefined;

  constructor(client: MCPClientPattern, name: string) {
    this.#client = client;
    this.#name = name;
  }

  readonly snapshot = (): ToolCallState => this.#state.value;

  readonly subscribe = (listener: () => void): (() => void) => {
    const end = this.#state.listen(listener);
    return () => {
      end();
      this.#cancel('The component has been unmounted');
    };
  };

  readonly call = (args: JsonObject = {}, options: RequestOptions = {}): Promise<CallToolResult> => {
    const own = new AbortController();
    this.#pending.add(own);
    this.#newest = own;
    this.#state.set({ ...NOTHING, status: 'pending' });
    const answer = this.#send(args, options, own);
    answer.then(
      (result) => this.#settled(own, { ...NOTHING, status: 'success', result }),
      (error: Error) => this.#settled(own, { ...NOTHING, status: 'error', error }),
    );
    return answer;
  };

  readonly reset = (): void => {
    this.#cancel('The call has been reset');
    this.#newest = undefined;
    this.#state.set(IDLE);
  };

  async #send(args: JsonObject, options: RequestOptions, own: AbortController): Promise<CallToolResult> {
    const signal = options.signal === undefined ? own.signal : AbortSignal.any([options.signal, own.signal]);
    const { onProgress } = options;
    const watched: RequestOptions = {
      ...options,
      signal,
      onProgress: (progress) => {
        if (this.#newest === own && this.#pending.has(own)) this.#state.set({ ...NOTHING, status: 'pending', progress });
        onProgress?.(progress);
      },
    };
    return this.#client.callTool(this.#name, args, options.useCache === true ? { ...options, signal } : watched);
  }

  #settled(own: AbortController, state: ToolCallState): void {
    this.#pending.delete(own);
    if (this.#newest === own) this.#state.set(state);
  }

  #cancel(reason: string): void {
    for (const own of this.#pending) own.abort(new RpcError('cancelled', reason));
  }
}
