/** The command line was wrong. The message is for the user, and never holds what could be a secret. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}
