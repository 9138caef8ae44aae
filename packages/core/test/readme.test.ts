import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';

const read = (path: string) => readFileSync(new URL(path, import.meta.url), 'utf8');

it("the README's example is the program that is tested here", () => {
  expect(read('../README.md')).toContain(`\`\`\`ts\n${read('./readme/timing.ts')}\`\`\``);
});

it("the README's example times the calls of an SDK server", async () => {
  const { fetch, timings } = await import('./readme/timing.js');
  const response = await fetch(
    new Request('http://localhost/mcp', {
      method: 'POST',
      headers: { 'content-type': 'application/json', accept: 'application/json, text/event-stream' },
      body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'now', arguments: {} } }),
    }),
  );
  expect(await response.text()).toMatch(/\d{4}-\d\d-\d\dT/);
  expect(timings).toEqual([expect.stringMatching(/^anonymous tools\/call [\d.]+ ms$/)]);
});
