import { expect, it } from 'vitest';
import { runAuditCommand } from '../src/command.js';
import { exportAuditTrail, FileAuditSink } from '../src/index.js';
import { event, temporaryFolder } from './trails.js';

/** Escape, the one-byte start of a control sequence, DEL, an override of direction, a line end of Unicode. */
const hostile = '\u001b[2J\u009b31m\u007f\u202e\u2028';
const harmless = '\\u001b[2J\\u009b31m\\u007f\\u202e\\u2028';

async function trail(): Promise<string> {
  const path = `${temporaryFolder()}/audit.jsonl`;
  const sink = new FileAuditSink({ path });
  sink.record({ ...event(1, { note: hostile }), actor: `=${hostile}`, target: 'naïve\tname\r\nof a tool 🔧' });
  await sink.close();
  return path;
}

it('the command shows what callers sent without letting it act on the terminal, and it stays the same JSON', async () => {
  const printed: string[] = [];
  await runAuditCommand(['query', await trail()], { print: (line) => printed.push(line), write: async () => {} });
  expect(printed[0]).toContain(harmless);
  expect(printed[0]).not.toContain('\u009b');
  expect(JSON.parse(printed[0] as string).event).toEqual({
    ...event(1, { note: hostile }),
    actor: `=${hostile}`,
    target: 'naïve\tname\r\nof a tool 🔧',
  });
});

it('so does the table for spreadsheets', async () => {
  const path = await trail();
  let text = '';
  for await (const piece of exportAuditTrail(path, { format: 'csv' })) text += piece;
  expect(text).toContain(`'=${harmless}`);
  expect(text).toContain('"naïve\tname\r\nof a tool 🔧"');
  for (const character of '\u001b\u009b\u007f\u202e\u2028') expect(text).not.toContain(character);
});
