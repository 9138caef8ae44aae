import { WebSocketClientTransport } from '@mcp-blocks/encrypted-websocket';
import { Client } from '@modelcontextprotocol/client';

const form = document.querySelector('form')!;
const tools = document.querySelector('nav')!;
const output = document.querySelector('output')!;

function fail(error: Error): void {
  output.value = error.message;
}

async function connect(token: string): Promise<void> {
  const noise = {
    protocol: 'Noise_NK_25519_ChaChaPoly_SHA256',
    serverPublicKey: 'TOGKdONFd8yCvjLm5avMuOnlc2FUu3-4H98m-kPHD2s', // as `keygen` printed it
  } as const;
  const transport = new WebSocketClientTransport('wss://mcp.example/ws', { token, noise });
  const client = new Client({ name: 'page', version: '1.0.0' }, { versionNegotiation: { mode: 'auto' } });
  await client.connect(transport);
  client.onclose = () => {
    tools.replaceChildren();
    output.value = transport.closeError?.message ?? 'Closed';
  };
  const buttons = (await client.listTools()).tools.map(({ name }) => {
    const button = document.createElement('button');
    button.textContent = name;
    button.onclick = () =>
      client.callTool({ name, arguments: {} }).then(({ content }) => {
        output.value = content.map((part) => (part.type === 'text' ? part.text : part.type)).join('\n');
      }, fail);
    return button;
  });
  tools.replaceChildren(...buttons);
  output.value = `Connected by ${transport.getSessionInfo()?.algorithm}`;
}

form.onsubmit = (event) => {
  event.preventDefault();
  connect(String(new FormData(form).get('token'))).catch(fail);
};
