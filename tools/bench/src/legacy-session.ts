import { wrongAnswer } from './echo-answer.ts';
import { type Caller, callHeaders, callMessage, echoedText, PROTOCOL_VERSION, type Way } from './echo-request.ts';
import { type Endpoint, post } from './http-call.ts';

const NUMBER = 10_000_000;

/** Calls the echo tool once and tells what is wrong with the answer; undefined when nothing is. */
export async function callOnce(endpoint: Endpoint, way: Way, caller: Caller): Promise<string | undefined> {
  return wrongAnswer(await post(endpoint, callHeaders(way, caller), callMessage(way, NUMBER, echoedText(NUMBER))), NUMBER);
}

/**
 * Opens a session of revision 2025-11-25 with its handshake and returns its id; undefined when the server
 * gives out none.
 *
 * @throws Error when the server refuses the handshake.
 */
export async function openSession(endpoint: Endpoint, authorization?: string): Promise<string | undefined> {
  const { 'mcp-protocol-version': _afterwards, ...headers } = callHeaders('session', { authorization });
  const params = { protocolVersion: PROTOCOL_VERSION.session, capabilities: {}, clientInfo: { name: 'bench', version: '1.0.0' } };
  const answer = await post(endpoint, headers, { jsonrpc: '2.0', id: 1, method: 'initialize', params });
  if (answer.status !== 200) throw new Error(`initialize: HTTP ${answer.status} ${answer.body.slice(0, 200)}`);
  const sessionId = answer.header('mcp-session-id');
  if (sessionId === undefined) return undefined;
  const initialized = { jsonrpc: '2.0', method: 'notifications/initialized' };
  const accepted = await post(endpoint, callHeaders('session', { authorization, sessionId }), initialized);
  if (accepted.status !== 202) throw new Error(`notifications/initialized: HTTP ${accepted.status} ${accepted.body.slice(0, 200)}`);
  return sessionId;
}
