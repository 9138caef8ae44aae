import { type Clock, RpcError, type RpcMiddleware } from '@mcp-blocks/core';
import { Deadlines } from './deadlines.js';

/**
 * Ends requests that run longer than `timeoutMs`: the handler's signal aborts and the caller gets
 * `timeout`. While the handler waits for the client's own answer (a person filling in a form) the clock
 * stands still.
 */
export function requestTimeout(timeoutMs: number, clock: Clock): RpcMiddleware {
  const deadlines = new Deadlines(timeoutMs, clock);
  return (next) => (request, context) =>
    new Promise((resolve, reject) => {
      const { signal } = context;
      // One signal for both ends, made by hand: what AbortSignal.any makes costs more than many a request.
      const ended = new AbortController();
      const forward = () => ended.abort(signal.reason);
      if (signal.aborted) forward();
      else signal.addEventListener('abort', forward, { once: true });
      const expire = () => {
        const error = new RpcError('timeout', `The request took longer than ${timeoutMs} ms`, { data: { timeoutMs } });
        ended.abort(error);
        fail(error);
      };
      let leftMs = timeoutMs;
      let armedAt = clock.now();
      let cancel = deadlines.start(expire);
      let asking = 0;
      let finished = false;

      const ask = context.request;
      const pausing =
        ask === undefined
          ? {}
          : {
              request: async (method: string, params: Parameters<typeof ask>[1]) => {
                if (asking++ === 0) {
                  cancel();
                  leftMs -= clock.now() - armedAt;
                }
                try {
                  return await ask(method, params);
                } finally {
                  if (--asking === 0 && !finished) {
                    armedAt = clock.now();
                    cancel = clock.setTimeout(expire, Math.max(0, leftMs));
                  }
                }
              },
            };
      const finish = () => {
        finished = true;
        cancel();
        signal.removeEventListener('abort', forward);
      };
      const fail = (error: unknown) => {
        finish();
        reject(error as Error);
      };
      try {
        next(request, { ...context, ...pausing, signal: ended.signal }).then((result) => {
          finish();
          resolve(result);
        }, fail);
      } catch (error) {
        fail(error);
      }
    });
}
