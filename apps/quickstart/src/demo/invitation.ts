import { META, MODERN_PROTOCOL_VERSION } from '@mcp-blocks/core';
import type { Stack } from '../stack.js';

/** Lines to paste into other MCP clients, working for as long as the demo runs. */
export function invitation({ endpoints, tokens }: Stack): string {
  const call = {
    jsonrpc: '2.0',
    id: 1,
    method: 'tools/call',
    params: {
      name: 'current_weather',
      arguments: { city: 'Lisbon' },
      _meta: {
        [META.protocolVersion]: MODERN_PROTOCOL_VERSION,
        [META.clientInfo]: { name: 'curl', version: '8' },
        [META.clientCapabilities]: {},
      },
    },
  };
  return `The demo stays up until you press Ctrl-C. The token below is the analyst's; --json prints all three.

TOKEN=${tokens.analyst}

curl (one call, current protocol revision):
  curl -s ${endpoints.http} -H "Authorization: Bearer $TOKEN" \\
    -H 'Content-Type: application/json' -H 'Accept: application/json, text/event-stream' \\
    -H 'MCP-Protocol-Version: ${MODERN_PROTOCOL_VERSION}' -H 'Mcp-Method: tools/call' -H 'Mcp-Name: current_weather' \\
    -d '${JSON.stringify(call)}'

MCP Inspector (in this checkout):
  npx mcp-inspector --cli ${endpoints.http} --transport http --header "Authorization: Bearer $TOKEN" --method tools/list

Claude Desktop (claude_desktop_config.json):
  ${JSON.stringify({
    mcpServers: {
      quickstart: {
        command: 'npx',
        args: ['-y', 'mcp-remote', endpoints.http, '--header', `Authorization:\${AUTHORIZATION}`],
        env: { AUTHORIZATION: `Bearer ${tokens.analyst}` },
      },
    },
  })}

VS Code (.vscode/mcp.json):
  ${JSON.stringify({ servers: { quickstart: { type: 'http', url: endpoints.http, headers: { Authorization: `Bearer ${tokens.analyst}` } } } })}
`;
}
