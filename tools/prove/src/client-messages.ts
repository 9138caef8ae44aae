import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';

/** @throws when the process ends before it says something. */
export async function nextMessage<Message>(child: ChildProcess): Promise<Message> {
  const abort = new AbortController();
  const { signal } = abort;
  try {
    const ended = once(child, 'exit', { signal }).then(([code, killedBy]) => {
      throw new Error(`a process ended with ${code ?? killedBy} before it said anything`);
    });
    return ((await Promise.race([once(child, 'message', { signal }), ended])) as [Message])[0];
  } finally {
    abort.abort();
  }
}
