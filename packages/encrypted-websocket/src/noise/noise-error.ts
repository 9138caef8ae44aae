/**
 * What the Noise protocol does not allow: a frame that was refused, or a use of a channel that is over. The
 * texts are the same whatever was wrong with a frame, and none holds a key or a byte of a message; whoever
 * catches it ends the connection without a word to the peer, so that nobody can ask the channel what it thinks.
 */
export class NoiseError extends Error {
  override readonly name = 'NoiseError';
  readonly code = 'noise_refused';
}
