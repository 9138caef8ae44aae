import { type Clock, RpcError, type RpcMiddleware } from '@mcp-blocks/core';

/**
 * Ends requests that run longer than `timeoutMs`: the handler's signal aborts and the caller gets
 * `timeout`. While the handler waits for the client's own answer (a person filling in a form) the clock
 * stands still.
 */
export function requestTimeout(timeoutMs: number, clock: Clock): RpcMiddleware {
  return (next) => async (request, context) => {
    const deadline = new AbortController();
    let reject: (error: Error) => void = () => {};
    const expired = new Promise<never>((_resolve, fail) => {
      reject = fail;
    });
    // Nobody awaits it when the handler was faster.
    expired.catch(() => {});
    const expire = () => {
      const error = new RpcError('timeout', `The request took longer than ${timeoutMs} ms`, { data: { timeoutMs } });
      deadline.abort(error);
      reject(error);
    };
    let leftMs = timeoutMs;
    let armedAt = clock.now();
    let cancel = clock.setTimeout(expire, leftMs);
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
    try {
      return await Promise.race([
        next(request, { ...context, ...pausing, signal: AbortSignal.any([context.signal, deadline.signal]) }),
        expired,
      ]);
    } finally {
      finished = true;
      cancel();
    }
  };
}
