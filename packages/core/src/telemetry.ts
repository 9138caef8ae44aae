/**
 * The OpenTelemetry names for MCP (semantic conventions, status: development), all of them here, since they
 * may still change. Durations are in seconds.
 */
export const TELEMETRY = {
  attributes: {
    method: 'mcp.method.name',
    protocolVersion: 'mcp.protocol.version',
    sessionId: 'mcp.session.id',
    toolName: 'gen_ai.tool.name',
    promptName: 'gen_ai.prompt.name',
    operation: 'gen_ai.operation.name',
    requestId: 'jsonrpc.request.id',
    statusCode: 'rpc.response.status_code',
    errorType: 'error.type',
    transport: 'network.transport',
    networkProtocol: 'network.protocol.name',
  },
  /** The value of `gen_ai.operation.name` for `tools/call`. */
  executeTool: 'execute_tool',
  /** The value of `error.type` for a tool result with `isError`. */
  toolError: 'tool_error',
  /** Stands for every method that MCP does not have, since callers choose those. */
  otherMethod: '_OTHER',
  histograms: {
    clientOperation: 'mcp.client.operation.duration',
    serverOperation: 'mcp.server.operation.duration',
    clientSession: 'mcp.client.session.duration',
    serverSession: 'mcp.server.session.duration',
  },
  /** The bucket boundaries of the histograms. */
  durationBuckets: [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300],
} as const;

const METHODS: ReadonlySet<string> = new Set([
  'initialize',
  'ping',
  'server/discover',
  'tools/list',
  'tools/call',
  'resources/list',
  'resources/templates/list',
  'resources/read',
  'resources/subscribe',
  'resources/unsubscribe',
  'subscriptions/listen',
  'prompts/list',
  'prompts/get',
  'completion/complete',
  'logging/setLevel',
  'sampling/createMessage',
  'elicitation/create',
  'roots/list',
  'tasks/get',
  'tasks/update',
  'tasks/cancel',
  'tasks/list',
  'tasks/result',
]);

/** `method` where MCP has it, else {@link TELEMETRY}`.otherMethod`: a label whose values are few whatever callers send. */
export function methodLabel(method: string): string {
  return METHODS.has(method) ? method : TELEMETRY.otherMethod;
}
