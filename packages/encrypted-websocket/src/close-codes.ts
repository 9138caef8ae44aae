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
  /** The peer sent a binary frame where messages are text, or text where they are sealed. */
  unsupportedData: 1003,
  /** Nobody said goodbye: the connection broke. Never sent. */
  abnormal: 1006,
  /** The peer sent text that is not UTF-8, or compressed text that cannot be inflated. */
  invalidText: 1007,
  /** The peer cut a message into more frames than are kept. */
  policyViolation: 1008,
  /** The peer sent a message larger than the receiver's `maxMessageBytes`. */
  messageTooBig: 1009,
  /** The server cannot take the connection now. Inside Noise; without it, HTTP 503 says so. */
  tryAgainLater: 1013,
  /** The Noise handshake failed, or a frame inside the channel was not what the peer had sealed. Never says more. */
  noiseRefused: 4400,
  /** The credential has expired; inside Noise also: there is none, or it is not accepted. Connect again with another one. */
  unauthenticated: 4401,
  /** The credential is valid and not enough. Inside Noise; without it, HTTP 403 says so. */
  forbidden: 4403,
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
  [CLOSE_CODES.unsupportedData]: ['invalid_request', 'a frame was of the wrong kind'],
  [CLOSE_CODES.invalidText]: ['invalid_request', 'a message could not be decoded'],
  [CLOSE_CODES.policyViolation]: ['invalid_request', 'a message came in too many frames'],
  [CLOSE_CODES.messageTooBig]: ['payload_too_large', 'a message was larger than the receiver accepts'],
  [CLOSE_CODES.tryAgainLater]: ['unavailable', 'the server takes no connections now'],
  [CLOSE_CODES.noiseRefused]: ['unavailable', 'what came was not what had been sealed'],
  [CLOSE_CODES.unauthenticated]: ['unauthenticated', 'the credential is missing, not accepted or has expired'],
  [CLOSE_CODES.forbidden]: ['forbidden', 'the credential is not enough'],
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
