import { type Assignment, runScenario } from './client-program.ts';

const { MCP_CONFORMANCE_SCENARIO, MCP_CONFORMANCE_PROTOCOL_VERSION, MCP_CONFORMANCE_CONTEXT } = process.env;

await runScenario({
  scenario: MCP_CONFORMANCE_SCENARIO ?? '',
  serverUrl: process.argv[2] ?? '',
  revision: MCP_CONFORMANCE_PROTOCOL_VERSION ?? '',
  context: JSON.parse(MCP_CONFORMANCE_CONTEXT ?? '{}') as Assignment['context'],
});
