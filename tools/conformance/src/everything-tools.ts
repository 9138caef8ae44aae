import { type AuthenticatedToolRegistry, ToolError } from '@mcp-blocks/authenticated-tool-registry';
import { fromJsonSchema, inputRequired } from '@modelcontextprotocol/server';
import { z } from 'zod';
import { PNG, WAV } from './media.ts';

/** Tools that answer at once, each with one kind of result. */
export function registerTools(registry: AuthenticatedToolRegistry): void {
  registry.tool('test_simple_text', { description: 'Text content' }, () => 'This is a simple text response for testing.');
  registry.tool('test_image_content', { description: 'Image content' }, () => ({
    content: [{ type: 'image', data: PNG, mimeType: 'image/png' }],
  }));
  registry.tool('test_audio_content', { description: 'Audio content' }, () => ({
    content: [{ type: 'audio', data: WAV, mimeType: 'audio/wav' }],
  }));
  registry.tool('test_embedded_resource', { description: 'An embedded resource' }, () => ({
    content: [
      {
        type: 'resource',
        resource: { uri: 'test://embedded-resource', mimeType: 'text/plain', text: 'This is an embedded resource content.' },
      },
    ],
  }));
  registry.tool('test_multiple_content_types', { description: 'Text, image and resource in one result' }, () => ({
    content: [
      { type: 'text', text: 'Multiple content types test:' },
      { type: 'image', data: PNG, mimeType: 'image/png' },
      {
        type: 'resource',
        resource: { uri: 'test://mixed-content-resource', mimeType: 'application/json', text: '{"test":"data","value":123}' },
      },
    ],
  }));
  registry.tool('test_error_handling', { description: 'Fails' }, () => {
    throw new ToolError('This tool intentionally returns an error for testing');
  });

  registry.tool('test_tool_with_progress', { description: 'Reports progress' }, async (_args, context) => {
    for (const done of [0, 50, 100]) await context.progress(done, 100, `Completed step ${done} of 100`);
    return 'done';
  });
  for (const name of ['test_tool_with_logging', 'test_logging_tool']) {
    registry.tool(name, { description: 'Logs' }, async (_args, context) => {
      for (const line of ['Tool execution started', 'Tool processing data', 'Tool execution completed']) await context.log('info', line);
      return 'Tool with logging executed successfully';
    });
  }
  registry.tool('test_streaming_elicitation', { description: 'Answers without asking' }, () => 'Result frames only');

  registry.tool('test_missing_capability', { description: 'Needs a client that can sample' }, (_args, { inputResponses }) =>
    inputResponses?.answer === undefined
      ? inputRequired({
          inputRequests: {
            answer: inputRequired.createMessage({
              messages: [{ role: 'user', content: { type: 'text', text: 'Say pong' } }],
              maxTokens: 16,
            }),
          },
        })
      : 'sampled',
  );

  registry.tool('test_trigger_tool_change', { description: 'Changes the list of tools' }, () => {
    registry.tool('test_added', { description: 'Was added a moment ago' }, () => 'added').remove();
    return 'changed';
  });
  registry.tool('test_trigger_prompt_change', { description: 'Changes the list of prompts' }, () => {
    registry.prompt('test_added', { description: 'Was added a moment ago' }, () => 'added').remove();
    return 'changed';
  });

  registry.tool(
    'test_x_mcp_header',
    {
      description: 'Mirrors an argument into a header (SEP-2243)',
      input: z.object({ region: z.string().optional().meta({ 'x-mcp-header': 'Region' }), level: z.number().int().optional() }),
    },
    ({ region }) => `region=${region ?? 'none'}`,
  );
  registry.tool(
    'json_schema_2020_12_tool',
    { description: 'JSON Schema 2020-12 (SEP-1613, SEP-2106)', input: fromJsonSchema(SCHEMA_2020_12) },
    (args) => JSON.stringify(args),
  );
}

const SCHEMA_2020_12 = {
  $schema: 'https://json-schema.org/draft/2020-12/schema',
  type: 'object',
  $defs: { address: { $anchor: 'addressDef', type: 'object', properties: { street: { type: 'string' }, city: { type: 'string' } } } },
  properties: {
    name: { type: 'string' },
    address: { $ref: '#/$defs/address' },
    contactMethod: { type: 'string', enum: ['phone', 'email'] },
    phone: { type: 'string' },
    email: { type: 'string' },
  },
  allOf: [{ anyOf: [{ required: ['phone'] }, { required: ['email'] }] }],
  if: { properties: { contactMethod: { const: 'phone' } }, required: ['contactMethod'] },
  // biome-ignore lint/suspicious/noThenProperty: a keyword of JSON Schema
  then: { required: ['phone'] },
  else: { required: ['email'] },
  additionalProperties: false,
} as const;
