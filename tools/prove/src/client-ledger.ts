/** The ledger of `prove:client`: counts what calls have done, in a process that no fault reaches. */
import { createServer, type Socket } from 'node:net';
import type { AuditAnswer, AuditQuestion } from './client-ledger-process.ts';

const countsById: number[] = [];
/** What a server can be asked after an ambiguous outcome: the effects of an idempotency key. */
const countsByKey = new Map<string, number>();
const keysById = new Map<number, string>();
let keysChanged = 0;

/** @returns how often the call has had its effect. */
function enter(id: number, key: string, isDeduplicated: boolean): number {
  const known = keysById.get(id);
  if (known === undefined) keysById.set(id, key);
  else if (known !== key) keysChanged += 1;
  const before = countsByKey.get(key) ?? 0;
  if (isDeduplicated && before > 0) return before;
  countsByKey.set(key, before + 1);
  countsById[id] = (countsById[id] ?? 0) + 1;
  return countsById[id];
}

function serve(socket: Socket): void {
  let rest = '';
  socket.setEncoding('utf8').setNoDelay();
  // A server that was killed.
  socket.on('error', () => {});
  socket.on('data', (text: string) => {
    const lines = (rest + text).split('\n');
    // What a killed server had not written to its end is no entry.
    rest = lines.pop() as string;
    let answers = '';
    for (const line of lines) {
      const [id, key, mode] = line.split(' ') as [string, string, string];
      answers += `${enter(Number(id), key, mode === 'once')}\n`;
    }
    socket.write(answers);
  });
}

const server = createServer(serve);
server.listen(0, '127.0.0.1', () => process.send?.((server.address() as { port: number }).port));
process.on('message', ({ ambiguous }: AuditQuestion) => {
  const strangers = ambiguous.filter(({ id, key }) => (countsByKey.get(key) ?? 0) !== (countsById[id] ?? 0)).map(({ id }) => id);
  process.send?.({ counts: Uint8Array.from(countsById, (count) => count ?? 0), strangers, keysChanged } satisfies AuditAnswer);
});
process.once('disconnect', () => process.exit());
