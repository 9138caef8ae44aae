import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { CLOSE_CODES } from '../src/index.js';

const read = (path: string) => readFileSync(new URL(path, import.meta.url), 'utf8');

it("the README's example is the program that is tested here, and it gets its answer", async () => {
  expect(read('../README.md')).toContain(`\`\`\`ts\n${read('./readme/greeting.ts')}\`\`\``);
  const { answer } = await import('./readme/greeting.js');
  expect(answer.content).toEqual([{ type: 'text', text: 'greet: hello, ada' }]);
});

it('and so is the one with Noise', async () => {
  expect(read('../README.md')).toContain(`\`\`\`ts\n${read('./readme/sealed.ts')}\`\`\``);
  const { answer, session } = await import('./readme/sealed.js');
  expect(answer.content).toEqual([{ type: 'text', text: "hello, ada's laptop" }]);
  expect(session).toMatchObject({ algorithm: 'Noise_IK_25519_AESGCM_SHA256', forwardSecrecy: true });
});

describe('the close codes', () => {
  it.each(Object.entries(CLOSE_CODES))('%s is in the table of TRANSPORT.md as %d', (name, code) => {
    expect(read('../../../TRANSPORT.md')).toMatch(new RegExp(`^\\| ${code} \\| \`${name}\` \\|`, 'm'));
  });
});
