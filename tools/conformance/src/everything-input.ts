import type { AuthenticatedToolRegistry } from '@mcp-blocks/authenticated-tool-registry';
import { isJsonObject, type JsonObject, RpcError } from '@mcp-blocks/core';
import { type InputRequests, inputRequired } from '@modelcontextprotocol/server';
import { z } from 'zod';

/** The content of a form the user accepted, or `undefined`. */
function accepted(responses: JsonObject | undefined, key: string): JsonObject | undefined {
  const response = responses?.[key];
  return isJsonObject(response) && response.action === 'accept' && isJsonObject(response.content) ? response.content : undefined;
}

const form = (message: string, properties: JsonObject, required: string[] = Object.keys(properties)) =>
  inputRequired.elicit({ message, requestedSchema: { type: 'object', properties, required } as never });
const askName = (message = 'What is your name?') => form(message, { name: { type: 'string' } });
/** Asks for input, and leaves a state with the client; the registry seals it, and opens it when it comes back. */
const keeping = (requestState: JsonObject, inputRequests: InputRequests) => ({ ...inputRequired({ inputRequests }), requestState });
const stateOf = (requestState: unknown) => (isJsonObject(requestState) ? requestState : undefined);
const sample = (text: string) =>
  inputRequired.createMessage({ messages: [{ role: 'user', content: { type: 'text', text } }], maxTokens: 100 });

/**
 * Tools that need something from the client before they can answer (SEP-2322). Written once: a client of
 * the current revision answers by calling again, an older one is asked while the call waits.
 */
export function registerInputTools(registry: AuthenticatedToolRegistry): void {
  legacyNamedTools(registry);
  const tool = registry.tool.bind(registry);

  tool('test_input_required_result_elicitation', { description: 'Asks for a name' }, (_args, { inputResponses }) => {
    const name = accepted(inputResponses, 'user_name')?.name;
    return typeof name === 'string' ? `Hello, ${name}!` : inputRequired({ inputRequests: { user_name: askName() } });
  });

  tool('test_input_required_result_sampling', { description: 'Asks for a completion' }, (_args, { inputResponses }) => {
    const answer = inputResponses?.capital_question;
    return answer === undefined
      ? inputRequired({ inputRequests: { capital_question: sample('What is the capital of France?') } })
      : `Sampling response: ${sampledText(answer)}`;
  });

  tool('test_input_required_result_list_roots', { description: 'Asks for the roots' }, (_args, { inputResponses }) => {
    const roots = rootsOf(inputResponses);
    return roots === undefined
      ? inputRequired({ inputRequests: { client_roots: inputRequired.listRoots() } })
      : `Client exposed ${roots.length} root(s)`;
  });

  tool('test_input_required_result_request_state', { description: 'Keeps a sealed state with the client' }, async (_args, context) => {
    const state = stateOf(context.requestState);
    if (accepted(context.inputResponses, 'confirm') === undefined) {
      return keeping({ tool: 'request_state' }, { confirm: form('Please confirm', { ok: { type: 'boolean' } }) });
    }
    if (state?.tool !== 'request_state') throw new RpcError('invalid_params', 'The state is of another tool');
    return 'state-ok: requestState verified and confirmation received';
  });

  tool(
    'test_input_required_result_multiple_inputs',
    { description: 'Asks for three kinds of input at once' },
    async (_args, { inputResponses }) => {
      const name = accepted(inputResponses, 'user_name')?.name;
      const roots = rootsOf(inputResponses);
      const greeting = inputResponses?.greeting;
      if (typeof name === 'string' && greeting !== undefined && roots !== undefined)
        return `${sampledText(greeting)} ${name}, ${roots.length} root(s)`;
      return keeping(
        { tool: 'multiple_inputs' },
        { user_name: askName(), greeting: sample('Generate a greeting'), client_roots: inputRequired.listRoots() },
      );
    },
  );

  tool('test_input_required_result_multi_round', { description: 'Asks twice' }, async (_args, context) => {
    const state = stateOf(context.requestState);
    if (state?.round === 2) return `${String(state.name)} likes ${String(accepted(context.inputResponses, 'step2')?.color)}`;
    if (state?.round === 1) {
      const name = accepted(context.inputResponses, 'step1')?.name;
      return keeping({ round: 2, name }, { step2: form('Step 2: What is your favorite color?', { color: { type: 'string' } }) });
    }
    return keeping({ round: 1 }, { step1: askName('Step 1: What is your name?') });
  });

  tool('test_input_required_result_tampered_state', { description: 'Refuses a state that was changed' }, async (_args, context) => {
    const state = stateOf(context.requestState);
    if (state !== undefined && accepted(context.inputResponses, 'confirm') !== undefined) return 'integrity-ok: requestState verified';
    return keeping({ tool: 'tampered_state' }, { confirm: form('Please confirm', { ok: { type: 'boolean' } }) });
  });

  tool(
    'test_input_required_result_capabilities',
    { description: 'Asks only for what the client can give' },
    (_args, { inputResponses, clientCapabilities }) => {
      if (inputResponses !== undefined) return 'Fulfilled';
      const inputRequests = {
        ...(clientCapabilities?.elicitation ? { user_name: askName() } : {}),
        ...(clientCapabilities?.sampling ? { greeting: sample('Generate a short greeting') } : {}),
        ...(clientCapabilities?.roots ? { client_roots: inputRequired.listRoots() } : {}),
      };
      return Object.keys(inputRequests).length > 0 ? inputRequired({ inputRequests }) : 'The client can give nothing';
    },
  );
}

/** The tools the suite calls under their older names, in the legacy era. */
function legacyNamedTools(registry: AuthenticatedToolRegistry): void {
  registry.tool('test_sampling', { description: 'Samples', input: z.object({ prompt: z.string() }) }, ({ prompt }, { inputResponses }) => {
    const answer = inputResponses?.answer;
    return answer === undefined ? inputRequired({ inputRequests: { answer: sample(prompt) } }) : `LLM response: ${sampledText(answer)}`;
  });
  const elicitation = (
    name: string,
    message: (args: { message?: string | undefined }) => string,
    properties: JsonObject,
    required?: string[],
  ) =>
    registry.tool(name, { description: 'Elicits', input: z.object({ message: z.string().optional() }) }, (args, { inputResponses }) => {
      const answer = inputResponses?.answer;
      if (answer === undefined) return inputRequired({ inputRequests: { answer: form(message(args), properties, required) } });
      const { action, content } = answer as JsonObject;
      return `User response: action=${String(action)}, content=${JSON.stringify(content ?? {})}`;
    });
  elicitation('test_elicitation', ({ message }) => message ?? 'Please answer', {
    response: { type: 'string', description: "User's response" },
  });
  elicitation('test_elicitation_sep1034_defaults', () => 'Please review the form', DEFAULTS, []);
  elicitation('test_elicitation_sep1330_enums', () => 'Please select options', ENUMS, []);
}

const DEFAULTS: JsonObject = {
  name: { type: 'string', description: 'User name', default: 'John Doe' },
  age: { type: 'integer', description: 'User age', default: 30 },
  score: { type: 'number', description: 'User score', default: 95.5 },
  status: { type: 'string', description: 'User status', enum: ['active', 'inactive', 'pending'], default: 'active' },
  verified: { type: 'boolean', description: 'Verification status', default: true },
};

const titled = (...pairs: [string, string][]) => pairs.map(([value, title]) => ({ const: value, title }));
const ENUMS: JsonObject = {
  untitledSingle: { type: 'string', enum: ['option1', 'option2', 'option3'] },
  titledSingle: { type: 'string', oneOf: titled(['value1', 'First Option'], ['value2', 'Second Option'], ['value3', 'Third Option']) },
  legacyEnum: { type: 'string', enum: ['opt1', 'opt2', 'opt3'], enumNames: ['Option One', 'Option Two', 'Option Three'] },
  untitledMulti: { type: 'array', minItems: 1, maxItems: 3, items: { type: 'string', enum: ['option1', 'option2', 'option3'] } },
  titledMulti: {
    type: 'array',
    minItems: 1,
    maxItems: 3,
    items: { anyOf: titled(['value1', 'First Choice'], ['value2', 'Second Choice'], ['value3', 'Third Choice']) },
  },
};

function sampledText(response: unknown): string {
  const content = isJsonObject(response) && isJsonObject(response.content) ? response.content : {};
  return typeof content.text === 'string' ? content.text : JSON.stringify(response);
}

function rootsOf(responses: JsonObject | undefined): readonly unknown[] | undefined {
  const response = responses?.client_roots;
  return isJsonObject(response) && Array.isArray(response.roots) ? response.roots : undefined;
}
