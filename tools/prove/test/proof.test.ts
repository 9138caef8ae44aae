import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

function run(program: string, ...args: string[]) {
  const url = new URL('../src/proof.ts', import.meta.url).href;
  const source = `import { main } from '${url}'; await main({ name: 'x', n: 10, run: async (n) => (${program}) });`;
  return spawnSync(process.execPath, ['--input-type=module', '-e', source, '--', ...args], {
    encoding: 'utf8',
    cwd: fileURLToPath(new URL('..', import.meta.url)),
  });
}

it('prints the figure last and ends with 0 when the promise held', () => {
  const { stdout, status } = run("({ held: true, figure: n + ' of ' + n })");
  expect(stdout.trim()).toBe('prove:x: 10 of 10');
  expect(status).toBe(0);
});

it('takes its size from --n, tells what broke, and ends with 1', () => {
  const { stdout, stderr, status } = run("({ held: false, figure: '1 of ' + n, details: ['case 2: broke'] })", '--n', '3');
  expect(stdout.trim()).toBe('prove:x: 1 of 3');
  expect(stderr).toContain('case 2: broke');
  expect(status).toBe(1);
});

it('refuses a size that is none', () => {
  const { stderr, status } = run('{}', '--n', 'many');
  expect(stderr).toContain("--n: expected a positive integer, got 'many'");
  expect(status).toBe(2);
});
