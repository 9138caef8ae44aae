import { isUtf8 } from 'node:buffer';
import type { IncomingMessage } from 'node:http';
import { type Clock, JsonRpcParseError, RpcError } from '@mcp-blocks/core';
import { ByteCollector } from '../byte-collector.js';
import { HttpRefusal } from './refusal.js';

/** Bounds of {@link readBody}. */
export interface BodyLimits {
  readonly maxBytes: number;
  readonly timeoutMs: number;
}

/**
 * Reads a request body as text.
 *
 * @throws RpcError `payload_too_large` (413) as soon as more than `maxBytes` are announced or have come.
 * @throws HttpRefusal 408 when it has not all come after `timeoutMs`; 415 when it is compressed.
 * @throws JsonRpcParseError when it is not UTF-8.
 */
export async function readBody(request: IncomingMessage, { maxBytes, timeoutMs }: BodyLimits, clock: Clock): Promise<string> {
  const encoding = request.headers['content-encoding'];
  if (encoding !== undefined && encoding !== 'identity') {
    throw new HttpRefusal(415, 'invalid_request', 'Content-Encoding: compressed requests are not accepted');
  }
  if (Number(request.headers['content-length'] ?? 0) > maxBytes) throw tooLarge(maxBytes);
  const body = request.complete ? wholeBody(request) : await arrivingBody(request, { maxBytes, timeoutMs }, clock);
  if (body.length > maxBytes) throw tooLarge(maxBytes);
  if (!isUtf8(body)) throw new JsonRpcParseError('parse_error', 'The message is not valid UTF-8');
  return body.toString('utf8');
}

function tooLarge(maxBytes: number): RpcError {
  return new RpcError('payload_too_large', `The message is larger than ${maxBytes} bytes`, { data: { maxBytes } });
}

/** Mostly the body has come with the headers. */
function wholeBody(request: IncomingMessage): Buffer {
  return (request.read() as Buffer | null) ?? Buffer.alloc(0);
}

function arrivingBody(request: IncomingMessage, { maxBytes, timeoutMs }: BodyLimits, clock: Clock): Promise<Buffer> {
  return new Promise<Buffer>((resolve, reject) => {
    const bytes = new ByteCollector();
    const settle = (finish: () => void) => {
      cancel();
      request.off('data', onData).off('end', onEnd).off('error', onError).off('close', onClose);
      finish();
    };
    const onData = (chunk: Buffer) => {
      if (bytes.length + chunk.length > maxBytes) settle(() => reject(tooLarge(maxBytes)));
      else bytes.append(chunk);
    };
    const onEnd = () => settle(() => resolve(bytes.take()));
    const onError = (error: Error) => settle(() => reject(new RpcError('cancelled', 'The request broke off', { cause: error })));
    const onClose = () => settle(() => reject(new RpcError('cancelled', 'The request broke off')));
    const cancel = clock.setTimeout(
      () => settle(() => reject(new HttpRefusal(408, 'timeout', `The request body did not arrive within ${timeoutMs} ms`))),
      timeoutMs,
    );
    request.on('data', onData).on('end', onEnd).on('error', onError).on('close', onClose);
  });
}
