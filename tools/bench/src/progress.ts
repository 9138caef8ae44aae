/** Tells on stderr what is going on. */
export interface Progress {
  /** What is being done now; replaces the step before on a terminal. */
  step(text: string): void;
  /** Something the reader should still see at the end. */
  note(text: string): void;
  end(): void;
}

const CLEAR_LINE = '\r\u001b[2K';

export function progressOn(stream: NodeJS.WriteStream): Progress {
  if (!stream.isTTY)
    return { step: (text) => void stream.write(`${text}\n`), note: (text) => void stream.write(`! ${text}\n`), end: () => {} };
  return {
    step: (text) => void stream.write(`${CLEAR_LINE}${text.slice(0, (stream.columns ?? 80) - 1)}`),
    note: (text) => void stream.write(`${CLEAR_LINE}! ${text}\n`),
    end: () => void stream.write(CLEAR_LINE),
  };
}
