import { AsyncLocalStorage } from 'node:async_hooks';
import { RpcError } from '@mcp-blocks/core';

/** What became of the response to one message, where its stream cannot tell. */
export interface ResponseRecord {
  failure?: Error;
}

/** The message whose response is read. */
export const currentResponse = new AsyncLocalStorage<ResponseRecord>();

const LINE_FEED = 10;
const CARRIAGE_RETURN = 13;

/**
 * A `fetch` whose responses end with an error beyond so many bytes: the whole body, or in an event stream,
 * which may last, each event. Bytes are counted as they arrive, after decompression.
 */
export function boundedFetch(maxBytes: number): typeof fetch {
  return async (input, init) => {
    const record = currentResponse.getStore();
    const response = await fetch(input, init);
    if (response.body === null) return response;
    if (isShort(response, maxBytes)) return response;
    const isStream = response.headers.get('content-type')?.startsWith('text/event-stream') === true;
    const count = isStream ? eventLength() : bodyLength();
    const bound = new TransformStream<Uint8Array, Uint8Array>({
      transform(chunk, controller) {
        if (count(chunk) <= maxBytes) {
          controller.enqueue(chunk);
          return;
        }
        const failure = new RpcError('upstream_error', `The node's answer has more than ${maxBytes} bytes`);
        if (record !== undefined) record.failure = failure;
        controller.error(failure);
      },
    });
    const { status, statusText, headers } = response;
    return new Response(response.body.pipeThrough(bound), { status, statusText, headers });
  };
}

/** Whether HTTP itself ends the body in time: counting it once more would cost a stream of its own for each answer. */
function isShort({ headers }: Response, maxBytes: number): boolean {
  const length = headers.get('content-length');
  return length !== null && Number(length) <= maxBytes && headers.get('content-encoding') === null;
}

function bodyLength(): (chunk: Uint8Array) => number {
  let length = 0;
  return (chunk) => (length += chunk.length);
}

/** The length of the longest event in a chunk, with what came of its first one before. An empty line ends an event. */
function eventLength(): (chunk: Uint8Array) => number {
  let length = 0;
  let emptyLine = true;
  return (chunk) => {
    let longest = 0;
    for (const byte of chunk) {
      length += 1;
      longest = Math.max(longest, length);
      if (byte === LINE_FEED) {
        if (emptyLine) length = 0;
        emptyLine = true;
      } else if (byte !== CARRIAGE_RETURN) emptyLine = false;
    }
    return longest;
  };
}
