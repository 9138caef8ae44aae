import { AuthenticatedToolRegistry } from '@mcp-blocks/authenticated-tool-registry';
import { registerInputTools } from './everything-input.ts';
import { registerResourcesAndPrompts } from './everything-resources.ts';
import { registerTools } from './everything-tools.ts';

/** The same for every registry of the run: behind the gateway a state may come back to another node. */
const STATE_KEY = crypto.getRandomValues(new Uint8Array(32));

/** The server the official suite expects: every feature of the protocol, under the names it asks for. */
export function everythingService(): AuthenticatedToolRegistry {
  const registry = new AuthenticatedToolRegistry({
    name: 'mcp-blocks-everything',
    version: '1.0.0',
    defaultAccess: { allowAnonymous: true },
    requestState: { keys: [STATE_KEY] },
    capabilities: ['tools', 'resources', 'prompts', 'logging'],
  });
  registerTools(registry);
  registerInputTools(registry);
  registerResourcesAndPrompts(registry);
  return registry;
}
