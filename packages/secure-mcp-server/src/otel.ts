import type { EndedSession, RpcMiddleware } from '@mcp-blocks/core';
import { contextOf, operationTelemetry, sessionTelemetry, type TelemetryOptions, traceOf } from '@mcp-blocks/core/otel';

/** Where sessions are told of: a `SecureMCPServer`. */
export interface SessionSource {
  on(name: 'sessionEnded', listener: (session: EndedSession) => void): () => void;
}

const SCOPE = '@mcp-blocks/secure-mcp-server';

/**
 * A span and a measurement for each request, by OpenTelemetry's semantic conventions for MCP; the names are
 * `TELEMETRY` of `@mcp-blocks/core`. Needs the package `@opentelemetry/api`.
 *
 * Spans are called `{method} {tool or prompt name}`, are of kind server, and continue the trace of
 * `params._meta` (`traceparent`, `tracestate`); the handler's `context.trace` names the span, so that calls to
 * upstreams continue it. Failures have `error.type`: the code of the `RpcError`, `tool_error` for a result with
 * `isError`. Arguments, results and principals are in neither. Of names that callers choose only those of tools
 * and prompts that have answered become attributes of the histogram, 1,000 at most.
 */
export function telemetry(options: TelemetryOptions = {}): RpcMiddleware {
  const observe = operationTelemetry('server', SCOPE, options);
  return (next) => (request, context) =>
    observe(request, context, contextOf(context.trace), (span) => next(request, { ...context, ...traceOf(span, context.trace) }));
}

/**
 * Measures how long sessions last in the histogram `mcp.server.session.duration`, by transport and revision: those
 * of the legacy era over HTTP, as this node held them, and connections over WebSocket, Unix socket and stdio.
 * Modern requests over HTTP belong to no session.
 *
 * @param server - the one to watch.
 * @returns the function that ends the observation.
 */
export function observeSessions(server: SessionSource, options: Pick<TelemetryOptions, 'meter'> = {}): () => void {
  const ended = sessionTelemetry('server', SCOPE, options);
  return server.on('sessionEnded', (session) => ended(session));
}

export type { TelemetryOptions };
