import { JsonRpcParseError, RpcError, type RpcErrorCode, toWireError } from '@mcp-blocks/core';

/** A refusal below MCP: the status is HTTP's own, not the one our code has on the wire. */
export class HttpRefusal extends RpcError {
  readonly status: number;

  constructor(status: number, code: RpcErrorCode, message: string, headers?: Readonly<Record<string, string>>) {
    super(code, message, headers === undefined ? {} : { headers });
    this.status = status;
  }
}

/** The response to a request that reached no handler: a JSON-RPC error with the HTTP status of its code. */
export function refusalResponse(error: unknown, id: string | number | null = null): Response {
  const wire = toWireError(error);
  const status = error instanceof HttpRefusal ? error.status : wire.httpStatus === 200 && wire.code === -32603 ? 500 : wire.httpStatus;
  const { code, message, data } = wire;
  const body = {
    jsonrpc: '2.0',
    id: error instanceof JsonRpcParseError ? error.id : id,
    error: { code, message, ...(data === undefined ? {} : { data }) },
  };
  return Response.json(body, { status, headers: wire.headers });
}
