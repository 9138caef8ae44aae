import { echoedText } from './echo-request.ts';

/** What an answer is made of, whatever carried it. */
export interface Answer {
  readonly status: number;
  readonly contentType: string;
  readonly body: string;
}

interface RpcMessage {
  readonly id?: unknown;
  readonly result?: { readonly content?: readonly { readonly type?: unknown; readonly text?: unknown }[]; readonly isError?: unknown };
  readonly error?: { readonly code?: unknown; readonly message?: unknown };
}

/** Why this is not the right answer to the echo request with this number; undefined when it is. */
export function wrongAnswer(answer: Answer, number: number): string | undefined {
  if (answer.status !== 200) return `HTTP ${answer.status}: ${answer.body.slice(0, 200)}`;
  let messages: readonly RpcMessage[];
  try {
    messages = answer.contentType.startsWith('text/event-stream') ? eventData(answer.body) : [JSON.parse(answer.body) as RpcMessage];
  } catch {
    return answer.body === '' ? 'an empty body' : `not JSON: ${answer.body.slice(0, 200)}`;
  }
  const message = messages.find(({ id }) => id === number);
  if (message === undefined) return 'no answer with the id of the request';
  if (message.error !== undefined) return `JSON-RPC error ${String(message.error.code)}: ${String(message.error.message)}`;
  const result = message.result;
  const [content, ...more] = result?.content ?? [];
  if (result?.isError === true) return `tool error: ${String(content?.text)}`;
  if (content?.type !== 'text' || content.text !== echoedText(number) || more.length > 0) return 'a result without the echoed text';
  return undefined;
}

function eventData(stream: string): RpcMessage[] {
  const messages: RpcMessage[] = [];
  for (const line of stream.split('\n')) {
    const data = line.startsWith('data:') ? line.slice(5).trim() : '';
    // An event without data is the SDK's priming event.
    if (data !== '') messages.push(JSON.parse(data) as RpcMessage);
  }
  return messages;
}
