import { McpServer as McpServerV1 } from '@modelcontextprotocol/sdk/server/mcp.js';
import { acceptedContent, inputRequired, McpServer } from '@modelcontextprotocol/server';
import { z } from 'zod';

const NAME_FORM = { type: 'object' as const, properties: { name: { type: 'string' as const } }, required: ['name'] };
const text = (value: string) => ({ content: [{ type: 'text' as const, text: value }] });

/** What became of calls to the tool `wait`. */
export class Waits {
  begun = 0;
  cancelled = 0;

  /** Never resolves; counts. */
  async on(signal: AbortSignal): Promise<never> {
    this.begun += 1;
    await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
    this.cancelled += 1;
    throw new Error('cancelled');
  }
}

/** The same tools in both eras: they ask, log, report progress and wait. Written as each era writes them. */
export function modernServer(waits: Waits = new Waits()): McpServer {
  const server = new McpServer({ name: 'modern', version: '1' }, { capabilities: { logging: {} } });
  server.registerTool('ask', { inputSchema: z.object({}) }, async (_args, { mcpReq }) => {
    const answer = acceptedContent<{ name: string }>(mcpReq.inputResponses, 'who');
    if (answer !== undefined) return text(`Hello, ${answer.name}`);
    return inputRequired({ inputRequests: { who: inputRequired.elicit({ message: 'Who?', requestedSchema: NAME_FORM }) } });
  });
  server.registerTool('log', { inputSchema: z.object({ word: z.string() }) }, async ({ word }, { mcpReq }) => {
    await mcpReq.log('debug', `${word} in detail`);
    await mcpReq.log('warning', word);
    return text('logged');
  });
  server.registerTool('work', { inputSchema: z.object({}) }, async (_args, { mcpReq }) => {
    const progressToken = mcpReq._meta?.progressToken;
    if (progressToken !== undefined)
      await mcpReq.notify({ method: 'notifications/progress', params: { progressToken, progress: 1, total: 2 } });
    return text('worked');
  });
  server.registerTool('wait', { inputSchema: z.object({}) }, (_args, { mcpReq }) => waits.on(mcpReq.signal));
  return server;
}

/** Asks by requests of its own, which it sends on the call's stream or, with `ask-aside`, wherever it can. */
export function legacyServer(waits: Waits = new Waits()): McpServerV1 {
  const server = new McpServerV1({ name: 'legacy', version: '1' }, { capabilities: { logging: {} } });
  const ask = async (related: { relatedRequestId?: string | number }) => {
    const { action, content } = await server.server.elicitInput({ message: 'Who?', requestedSchema: NAME_FORM }, related);
    return text(action === 'accept' ? `Hello, ${String(content?.name)}` : 'Nobody');
  };
  server.registerTool('ask', {}, ({ requestId }) => ask({ relatedRequestId: requestId }));
  server.registerTool('ask-aside', {}, () => ask({}));
  server.registerTool('ask-twice', {}, async ({ requestId }) => {
    const { content } = await server.server.createMessage(
      { messages: [{ role: 'user', content: { type: 'text', text: 'Capital of France?' } }], maxTokens: 10 },
      { relatedRequestId: requestId },
    );
    const { roots } = await server.server.listRoots(undefined, { relatedRequestId: requestId });
    return text(`${(content as { text: string }).text}, ${roots.map(({ uri }) => uri).join()}`);
  });
  server.registerTool('log', { inputSchema: { word: z.string() } }, async ({ word }, { sendNotification }) => {
    for (const [level, data] of [
      ['debug', `${word} in detail`],
      ['warning', word],
    ] as const)
      await sendNotification({ method: 'notifications/message', params: { level, data } });
    return text('logged');
  });
  server.registerTool('work', {}, async ({ _meta: meta, sendNotification }) => {
    if (meta?.progressToken !== undefined) {
      await sendNotification({
        method: 'notifications/progress',
        params: { progressToken: meta.progressToken, progress: 1, total: 2 },
      });
    }
    return text('worked');
  });
  server.registerTool('wait', {}, ({ signal }) => waits.on(signal));
  server.registerTool('capabilities', {}, async () => text(Object.keys(server.server.getClientCapabilities() ?? {}).join()));
  return server;
}
