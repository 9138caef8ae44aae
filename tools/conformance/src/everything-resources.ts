import type { AuthenticatedToolRegistry } from '@mcp-blocks/authenticated-tool-registry';
import { isJsonObject } from '@mcp-blocks/core';
import { inputRequired } from '@modelcontextprotocol/server';
import { z } from 'zod';
import { PNG } from './media.ts';

export function registerResourcesAndPrompts(registry: AuthenticatedToolRegistry): void {
  registry.resource(
    'test://static-text',
    { name: 'static-text', mimeType: 'text/plain' },
    () => 'This is the content of the static text resource.',
  );
  registry.resource('test://static-binary', { name: 'static-binary', mimeType: 'image/png' }, () => ({ blob: PNG }));
  registry.resource('test://watched-resource', { name: 'watched-resource', mimeType: 'text/plain' }, () => 'Watched resource content');
  registry.resourceTemplate('test://template/{id}/data', { name: 'template', mimeType: 'application/json' }, ({ id }) =>
    JSON.stringify({ id, templateTest: true, data: `Data for ID: ${String(id)}` }),
  );

  registry.prompt('test_simple_prompt', { description: 'Without arguments' }, () => 'This is a simple prompt for testing.');
  registry.prompt(
    'test_prompt_with_arguments',
    {
      description: 'With arguments',
      arguments: z.object({ arg1: z.string(), arg2: z.string() }),
      complete: { arg1: (value) => ['paris', 'park', 'party'].filter((candidate) => candidate.startsWith(value)) },
    },
    ({ arg1, arg2 }) => `Prompt with arguments: arg1='${arg1}', arg2='${arg2}'`,
  );
  registry.prompt(
    'test_prompt_with_embedded_resource',
    { description: 'With a resource', arguments: z.object({ resourceUri: z.string() }) },
    ({ resourceUri }) => [
      {
        role: 'user',
        content: {
          type: 'resource',
          resource: { uri: resourceUri, mimeType: 'text/plain', text: 'Embedded resource content for testing.' },
        },
      },
      { role: 'user', content: { type: 'text', text: 'Please process the embedded resource above.' } },
    ],
  );
  registry.prompt('test_prompt_with_image', { description: 'With an image' }, () => [
    { role: 'user', content: { type: 'image', data: PNG, mimeType: 'image/png' } },
    { role: 'user', content: { type: 'text', text: 'Please analyze the image above.' } },
  ]);
  registry.prompt('test_input_required_result_prompt', { description: 'Asks before it answers' }, (_args, { inputResponses }) => {
    const answer = inputResponses?.user_context;
    const content = isJsonObject(answer) && answer.action === 'accept' && isJsonObject(answer.content) ? answer.content : {};
    if (typeof content.context === 'string') return `Use the following context: ${content.context}`;
    return inputRequired({
      inputRequests: {
        user_context: inputRequired.elicit({
          message: 'What context should the prompt use?',
          requestedSchema: { type: 'object', properties: { context: { type: 'string' } }, required: ['context'] },
        }),
      },
    });
  });
}
