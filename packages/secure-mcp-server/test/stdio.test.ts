import { type ChildProcess, spawn } from 'node:child_process';
import { userInfo } from 'node:os';
import { PassThrough } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { settle } from '@mcp-blocks/core/testing';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';
import { StdioClientTransport as V1StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { SecureMCPServer, stdio } from '../src/index.js';
import { CLIENT_KINDS, jsonOf, newClient } from './support/clients.js';
import { LineClientTransport } from './support/line-client.js';
import { modernRequest, testJwt, testService, token } from './support/server.js';

const args = ['--conditions=@mcp-blocks/source', '--import', fileURLToPath(new URL('./support/source-loader.mjs', import.meta.url))];
const program = fileURLToPath(new URL('./fixtures/stdio-server.ts', import.meta.url));

/** Starts the fixture. `ended` resolves with its exit code and everything it wrote. */
function run(env: Record<string, string> = {}) {
  const child: ChildProcess = spawn(process.execPath, [...args, program], { env: { ...process.env, ...env } });
  onTestFinished(() => void child.kill('SIGKILL'));
  let [stdout, stderr] = ['', ''];
  child.stdout?.on('data', (chunk) => (stdout += chunk));
  child.stderr?.on('data', (chunk) => (stderr += chunk));
  const ended = new Promise<{ code: number | null; stdout: string; stderr: string }>((resolve) =>
    child.once('close', (code) => resolve({ code, stdout, stderr })),
  );
  return { child, ended };
}

describe.each(CLIENT_KINDS)('an SDK client that starts the server (%s)', (kind) => {
  it('calls tools as the local person', async () => {
    const Transport = kind === 'v1' ? V1StdioClientTransport : StdioClientTransport;
    const transport = new Transport({ command: process.execPath, args: [...args, program], stderr: 'pipe' });
    const client = newClient(kind);
    await client.connect(transport as never);
    onTestFinished(() => client.close());
    expect(jsonOf(await client.callTool({ name: 'whoami', arguments: {} }))).toEqual({
      id: `local:${userInfo().username}`,
      transport: 'stdio',
    });
  });
});

describe('a server on stdio', () => {
  const line = modernRequest('tools/call', { name: 'whoami', arguments: {} }).body;

  it('ends with its input, after answering what it was asked, and writes nothing but MCP to stdout', async () => {
    const { child, ended } = run({ SLOW: '200' });
    child.stdin?.end(`${line}\nnot json\n`);
    const { code, stdout, stderr } = await ended;
    expect(code).toBe(0);
    const messages = stdout
      .trim()
      .split('\n')
      .map((text) => JSON.parse(text));
    expect(messages).toEqual([
      expect.objectContaining({ id: null, error: expect.objectContaining({ code: -32700 }) }),
      expect.objectContaining({ id: 7, result: expect.anything() }),
    ]);
    expect(stderr.trim().split('\n')).toEqual(['status starting', 'status running', 'status stopped']);
  });

  it('takes the peer for whoever its token says', async () => {
    const { child, ended } = run({ MCP_TOKEN: 'the-key' });
    child.stdin?.end(`${line}\n`);
    expect((await ended).stdout).toContain('\\"id\\":\\"host\\"');
  });

  it('does not start with a bad token, nor say what it was', async () => {
    const { child, ended } = run({ MCP_TOKEN: 'a-wrong-key' });
    child.stdin?.end();
    const { code, stdout, stderr } = await ended;
    expect(code).not.toBe(0);
    expect(stdout).toBe('');
    expect(stderr).not.toContain('a-wrong-key');
  });

  it('uses the streams it is given, and the authenticators for a token', async () => {
    const [input, output] = [new PassThrough(), new PassThrough()];
    const server = new SecureMCPServer({
      service: testService().service,
      authenticators: [testJwt()],
      listeners: [stdio({ input, output, token: token({ sub: 'carol' }) })],
    });
    await server.start();
    expect(server.endpoints).toEqual(['stdio:']);
    const client = newClient('auto');
    await client.connect(new LineClientTransport(output, input) as never);
    expect(jsonOf(await client.callTool({ name: 'whoami', arguments: {} }))).toMatchObject({ id: 'carol' });
    const stopped = new Promise<void>((resolve) => server.on('statusChange', ({ to }) => to === 'stopped' && resolve()));
    input.end();
    await stopped;
    expect(server.metrics().activeConnections).toBe(0);
  });

  it('waits for a peer that does not read in one place, however many answers there are for it', async () => {
    const [input, output] = [new PassThrough(), new PassThrough({ highWaterMark: 10 })];
    const server = new SecureMCPServer({ service: testService().service, allowAnonymous: true, listeners: [stdio({ input, output })] });
    await server.start();
    onTestFinished(() => server.stop());
    const { id: _id, ...call } = JSON.parse(line) as { id: number };
    for (let id = 1; id <= 20; id += 1) input.write(`${JSON.stringify({ ...call, id })}\n`);
    await vi.waitFor(() => expect(server.metrics().totalRequests).toBe(20));
    await settle();
    expect(output.listenerCount('drain')).toBe(1);
    let text = '';
    output.on('data', (chunk) => (text += chunk));
    await vi.waitFor(() => expect(text.match(/"id":\d+/g)).toHaveLength(20));
  });
});
