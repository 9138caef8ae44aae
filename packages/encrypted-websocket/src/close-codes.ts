import { RpcError, type RpcErrorCode } from '@mcp-blocks/core';

/**
 * The WebSocket close codes of this transport. 1xxx are RFC 6455's own; 44xx and 45xx are ours, from the
 * private range (RFC 6455, 7.4.2), named after the HTTP status that says the same.
 */
export const CLOSE_CODES = {
  /** Whoever sent it is done. */
  normal: 1000,
  /**
   * The server has drained: every request it had read is answered. What has no answer was not read, and
   * may be sent again elsewhere.
   */
  goingAway: 1001,
  /** The peer broke RFC 6455 framing. */
  protocolError: 1002,
  /** The peer sent a binary frame; messages are text. */
  unsupportedData: 1003,
  /** Nobody said goodbye: the connection broke. Never sent. */
  abnormal: 1006,
  /** The peer sent text that is not UTF-8, or compressed text that cannot be inflated. */
  invalidText: 1007,
  /** The peer cut a message into more frames than are kept. */
  policyViolation: 1008,
  /** The peer sent a message larger than the receiver's `maxMessageBytes`. */
  messageTooBig: 1009,
  /** The credential presented in the handshake has expired. Connect again with a new one. */
  tokenExpired: 4401,
  /** Nothing came from the peer for `heartbeatIntervalMs + heartbeatTimeoutMs`. */
  heartbeatTimeout: 4408,
  /** The peer left more than `maxBufferedBytes` unread for `slowReaderTimeoutMs`. */
  slowReader: 4413,
  /** The drain's deadline passed with requests of this connection unanswered; they may have run. */
  drainDeadline: 4503,
} as const;

const ERRORS: Readonly<Record<number, readonly [code: RpcErrorCode, message: string]>> = {
  [CLOSE_CODES.goingAway]: ['unavailable', 'the server is shutting down'],
  [CLOSE_CODES.protocolError]: ['invalid_request', 'a frame broke the WebSocket protocol'],
  [CLOSE_CODES.unsupportedData]: ['invalid_request', 'a frame was not text'],
  [CLOSE_CODES.invalidText]: ['invalid_request', 'a message could not be decoded'],
  [CLOSE_CODES.policyViolation]: ['invalid_request', 'a message came in too many frames'],
  [CLOSE_CODES.messageTooBig]: ['payload_too_large', 'a message was larger than the receiver accepts'],
  [CLOSE_CODES.tokenExpired]: ['unauthenticated', 'the credential has expired'],
  [CLOSE_CODES.heartbeatTimeout]: ['unavailable', 'the peer stopped answering'],
  [CLOSE_CODES.slowReader]: ['unavailable', 'the peer read too slowly'],
  [CLOSE_CODES.drainDeadline]: ['unavailable', 'the server shut down before answering'],
};

/**
 * The error that a close code stands for; `data.closeCode` is the code. Codes without a meaning of their
 * own here (1000, 1006, a stranger's) are `unavailable`.
 */
export function toCloseError(closeCode: number): RpcError {
  const [code, message] = ERRORS[closeCode] ?? ['unavailable', 'the connection ended'];
  return new RpcError(code, `WebSocket closed with ${closeCode}: ${message}`, { data: { closeCode } });
}
