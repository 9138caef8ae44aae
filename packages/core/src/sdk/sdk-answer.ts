import type { JSONRPCMessage, Transport } from '@modelcontextprotocol/server';
import { serveStdio } from '@modelcontextprotocol/server/stdio';
import { anonymous } from '../identity.js';
import type { JsonRpcRequest, JsonRpcResponse } from '../json-rpc.js';
import type { RpcResult } from '../rpc.js';
import type { ServiceInfo } from '../service.js';
import { toSdkFactory } from './service-server.js';

/**
 * What the SDK makes of an outcome that a service has come to: its checks of results, and its wording where it finds
 * fault with one. The service is not asked again.
 */
export async function answerBySdk(info: ServiceInfo, request: JsonRpcRequest, outcome: () => Promise<RpcResult>): Promise<JsonRpcResponse> {
  let answered: (message: JsonRpcResponse) => void = () => {};
  const answer = new Promise<JsonRpcResponse>((resolve) => (answered = resolve));
  const transport: Transport = {
    start: () => Promise.resolve(),
    send: (message) => {
      if (!('method' in message)) answered(message as JsonRpcResponse);
      return Promise.resolve();
    },
    close: () => Promise.resolve(),
  };
  const factory = toSdkFactory({ info, handler: outcome }, { principal: anonymous, transport: 'memory' });
  const handle = serveStdio(factory, { transport });
  transport.onmessage?.(request as JSONRPCMessage);
  try {
    return await answer;
  } finally {
    await handle.close();
  }
}
