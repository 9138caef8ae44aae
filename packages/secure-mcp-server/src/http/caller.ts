import type { IncomingMessage } from 'node:http';
import type { AuthenticationRequest } from '@mcp-blocks/core';
import { clientCertificateOf } from '@mcp-blocks/core/node';

/** What a request tells of its sender before authentication. */
export function callerOf(request: IncomingMessage, transport: string, remoteAddress: string | undefined): AuthenticationRequest {
  const certificate = clientCertificateOf(request.socket);
  return {
    transport,
    header: (name) => headerOf(request, name),
    ...(remoteAddress === undefined ? {} : { remoteAddress }),
    ...(certificate === undefined ? {} : { clientCertificate: certificate }),
  };
}

function headerOf(request: IncomingMessage, name: string): string | undefined {
  const value = request.headers[name];
  return Array.isArray(value) ? value.join(', ') : value;
}
