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
  const tooLarge = () => new RpcError('payload_too_large', `The message is larger than ${maxBytes} bytes`, { data: { maxBytes } });
  if (Number(request.headers['content-length'] ?? 0) > maxBytes) throw tooLarge();
  const body = await new Promise<Buffer>((resolve, reject) => {
    const bytes = new ByteCollector();
    const settle = (finish: () => void) => {
      cancel();
      request.off('data', onData).off('end', onEnd).off('error', onError).off('close', onClose);
      finish();
    };
    const onData = (chunk: Buffer) => {
      if (bytes.length + chunk.length > maxBytes) settle(() => reject(tooLarge()));
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
  if (!isUtf8(body)) throw new JsonRpcParseError('parse_error', 'The message is not valid UTF-8');
  return body.toString('utf8');
}
