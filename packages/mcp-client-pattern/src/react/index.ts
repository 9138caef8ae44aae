'use client';

export { MCPClientProvider, type MCPClientProviderProps, useMCPClient } from './client-provider.js';
export type { LiveState } from './live-result.js';
export { useConnectionStatus } from './use-connection-status.js';
export { type UseResource, useResource } from './use-resource.js';
export { type ToolCallState, type ToolProgress, type UseTool, useTool } from './use-tool.js';
export { type UseTools, useTools } from './use-tools.js';
