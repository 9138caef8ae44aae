import type { JsonObject } from '@mcp-blocks/core';
import { Client } from '@modelcontextprotocol/client';
import { z } from 'zod';

/** How this package names itself to nodes when there is no caller to name. */
const CLIENT_INFO = { name: 'mcp-blocks-cluster', version: '0.0.0' };

/** Results are passed on as they came; who asked validates them. */
const anyResult = z.looseObject({});

/** The SDK's client with results left as they came, so that a field it does not know is not lost on the way. */
export class RawClient extends Client {
  /** @param capabilities - what a legacy node is told of its callers; a modern one is told with each request. */
  constructor(capabilities: JsonObject, mode: 'auto' | 'legacy' = 'auto') {
    super(CLIENT_INFO, { capabilities: capabilities as never, versionNegotiation: { mode } });
    // Failures are reported by the request they belong to.
    this.onerror = () => {};
  }

  override request(request: { method: string; params?: Record<string, unknown> }, ...rest: unknown[]): Promise<never> {
    const schemaGiven = rest.length > 1;
    const options = (schemaGiven ? rest[1] : rest[0]) as object | undefined;
    // The client's own handshake and catalogue keep their schemas.
    const raw = request.method !== 'initialize' && !schemaGiven;
    const send = super.request.bind(this) as (...args: unknown[]) => Promise<never>;
    return raw ? send(request, anyResult, options) : send(request, ...rest);
  }
}
