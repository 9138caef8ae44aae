import type { MCPClientConfig, OAuthOptions } from '@mcp-blocks/mcp-client-pattern';
import { MCPClientPattern } from '@mcp-blocks/mcp-client-pattern';

/** What the suite tells the client it starts, by its environment. */
export interface Assignment {
  readonly scenario: string;
  readonly serverUrl: string;
  /** The revision to speak. */
  readonly revision: string;
  /** What else the scenario needs its client to know. */
  readonly context: {
    readonly client_id?: string;
    readonly client_secret?: string;
    readonly private_key_pem?: string;
    readonly signing_algorithm?: string;
    readonly toolCalls?: readonly { readonly name: string; readonly arguments: Record<string, never> }[];
  };
}

/** Does what a scenario wants to watch, with the client of this repository. */
export async function runScenario(assignment: Assignment): Promise<void> {
  const { scenario, serverUrl, revision } = assignment;
  const act = SCENARIOS[scenario] ?? (scenario.startsWith('auth/') ? listAndCall : undefined);
  if (act === undefined) throw new Error(`No such scenario: ${scenario}`);
  await using client = new MCPClientPattern({
    serverUrl,
    // The suite's servers speak HTTP only.
    enableWebSocket: false,
    versionNegotiation: revision === '2026-07-28' ? 'auto' : 'legacy',
    clientInfo: { name: 'mcp-blocks-conformance', version: '1.0.0' },
    credentials: { oauth: oauthOf(assignment) },
    ...ELICITATION[scenario],
  });
  await act(client, assignment);
}

type ElicitationCapability = NonNullable<NonNullable<MCPClientConfig['capabilities']>['elicitation']>;

type Act = (client: MCPClientPattern, assignment: Assignment) => Promise<unknown>;

const listAndCall: Act = async (client) => {
  await client.listTools();
  await client.callTool('test-tool');
};

const SCENARIOS: Readonly<Record<string, Act>> = {
  initialize: (client) => client.listTools(),
  'request-metadata': (client) => client.connect(),
  'json-schema-ref-no-deref': (client) => client.listTools(),
  async tools_call(client) {
    await client.listTools();
    await client.callTool('add_numbers', { a: 5, b: 3 });
  },
  async 'json-schema-2020-12-preservation'(client) {
    const { tools } = await client.listTools();
    const tool = tools.find(({ name }) => name === 'json_schema_2020_12_tool');
    await client.callTool('json_schema_echo', { schema: tool?.inputSchema as never });
  },
  async 'elicitation-sep1034-client-defaults'(client) {
    await client.listTools();
    await client.callTool('test_client_elicitation_defaults');
  },
  async 'sse-retry'(client) {
    await client.listTools();
    await client.callTool('test_reconnection');
  },
  async 'http-standard-headers'(client) {
    const { tools } = await client.listTools();
    await client.callTool(tools[0]?.name ?? '');
    const { resources } = await client.listResources();
    await client.readResource(resources[0]?.uri ?? '');
    const { prompts } = await client.listPrompts();
    await client.getPrompt(prompts[0]?.name ?? '');
  },
  async 'http-custom-headers'(client, { context }) {
    await client.listTools();
    for (const call of context.toolCalls ?? []) await client.callTool(call.name, call.arguments);
  },
  async 'http-invalid-tool-headers'(client) {
    const { tools } = await client.listTools();
    for (const { name } of tools) await client.callTool(name, { region: 'us-west1' });
  },
  async 'sep-2322-client-request-state'(client) {
    await client.callTool('test_mrtr_echo_state');
    await client.callTool('test_mrtr_no_state');
    await client.callTool('test_mrtr_unrelated');
    // An answer that no 2026-07-28 server may give: the client refuses it.
    await client.callTool('test_mrtr_no_result_type').catch(() => {});
  },
};

const ELICITATION: Readonly<Record<string, Pick<MCPClientConfig, 'capabilities' | 'configureClient'>>> = {
  'elicitation-sep1034-client-defaults': answering({ form: { applyDefaults: true } }, {}),
  'sep-2322-client-request-state': answering({}, { confirmed: true }),
};

function answering(
  elicitation: ElicitationCapability,
  content: Record<string, boolean>,
): Pick<MCPClientConfig, 'capabilities' | 'configureClient'> {
  return {
    capabilities: { elicitation },
    configureClient: (client) => client.setRequestHandler('elicitation/create', () => ({ action: 'accept', content })),
  };
}

function oauthOf({ scenario, context }: Assignment): OAuthOptions {
  const { client_id: clientId = '', client_secret: clientSecret = '', private_key_pem: privateKey = '', signing_algorithm } = context;
  switch (scenario) {
    case 'auth/client-credentials-basic':
      return { grant: 'client_credentials', clientId, clientSecret };
    case 'auth/client-credentials-jwt':
      return { grant: 'private_key_jwt', clientId, privateKey, algorithm: signing_algorithm ?? 'ES256' };
    default:
      return {
        grant: 'authorization_code',
        redirectUrl: 'http://localhost:3000/callback',
        ...(clientId === '' ? { clientMetadataUrl: 'https://conformance-test.local/client-metadata.json' } : { clientId, clientSecret }),
        // The suite's authorization server consents by itself.
        async authorize({ url, signal }) {
          const response = await fetch(url, { redirect: 'manual', signal });
          return response.headers.get('location') ?? Promise.reject(new Error(`${url.origin} does not redirect: ${response.status}`));
        },
      };
  }
}
