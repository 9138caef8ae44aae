import { expect, it } from 'vitest';
import { wrongAnswer } from '../src/echo-answer.ts';
import { echoedText } from '../src/echo-request.ts';

const NUMBER = 10_000_007;
const result = (text: string, more: object = {}) => ({
  jsonrpc: '2.0',
  id: NUMBER,
  result: { content: [{ type: 'text', text }], ...more },
});
const json = (message: unknown, status = 200) => ({ status, contentType: 'application/json', body: JSON.stringify(message) });

it.each([
  ['JSON', json(result(echoedText(NUMBER)))],
  [
    'an event stream',
    { status: 200, contentType: 'text/event-stream', body: `event: message\ndata: ${JSON.stringify(result(echoedText(NUMBER)))}\n\n` },
  ],
  [
    'an event stream that begins with a priming event and a notification',
    {
      status: 200,
      contentType: 'text/event-stream; charset=utf-8',
      body: `id: 1\ndata:\n\ndata: {"jsonrpc":"2.0","method":"notifications/message"}\n\ndata: ${JSON.stringify(result(echoedText(NUMBER)))}\n\n`,
    },
  ],
])('takes the right answer as %s', (_, answer) => {
  expect(wrongAnswer(answer, NUMBER)).toBeUndefined();
});

it.each([
  ['an empty 200', { status: 200, contentType: '', body: '' }, 'empty body'],
  ['an error page', { status: 200, contentType: 'text/html', body: '<html>' }, 'not JSON'],
  ['another status', json(result(echoedText(NUMBER)), 202), 'HTTP 202'],
  ['a refusal', json({ error: 'no' }, 401), 'HTTP 401'],
  ['a JSON-RPC error', json({ jsonrpc: '2.0', id: NUMBER, error: { code: -32603, message: 'Broken' } }), '-32603: Broken'],
  ['a tool error', json(result(echoedText(NUMBER), { isError: true })), 'tool error'],
  ["another request's text", json(result(echoedText(NUMBER + 1))), 'without the echoed text'],
  ["another request's id", json({ ...result(echoedText(NUMBER)), id: NUMBER + 1 }), 'no answer with the id'],
  ['a result without content', json({ jsonrpc: '2.0', id: NUMBER, result: {} }), 'without the echoed text'],
  ['an event stream without an answer', { status: 200, contentType: 'text/event-stream', body: ': hello\n\n' }, 'no answer with the id'],
])('does not take %s', (_, answer, reason) => {
  expect(wrongAnswer(answer, NUMBER)).toContain(reason);
});
