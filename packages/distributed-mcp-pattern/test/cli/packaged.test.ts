import { execFile } from 'node:child_process';
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { folder, GatewayCommand } from './gateway-process.js';

const PACKAGE = fileURLToPath(new URL('../../', import.meta.url));
const run = promisify(execFile);

interface Manifest {
  readonly name: string;
  readonly bin: Record<string, string>;
  readonly dependencies: Record<string, string>;
  readonly peerDependencies: Record<string, string>;
}

it('serves as it is published, with nothing installed but what it depends on', { timeout: 300_000 }, async () => {
  const root = folder();
  const { name, bin, dependencies, peerDependencies } = JSON.parse(readFileSync(join(PACKAGE, 'package.json'), 'utf8')) as Manifest;
  const { stdout } = await run('npm', ['pack', '--json', '--pack-destination', root], { cwd: PACKAGE });
  const [{ filename }] = JSON.parse(stdout) as [{ filename: string }];
  const installed = join(root, 'node_modules', name);
  mkdirSync(installed, { recursive: true });
  await run('tar', ['xzf', join(root, filename), '-C', installed, '--strip-components=1']);
  for (const other of Object.keys({ ...dependencies, ...peerDependencies })) {
    const place = join(root, 'node_modules', other);
    mkdirSync(dirname(place), { recursive: true });
    symlinkSync(join(PACKAGE, '../../node_modules', other), place);
  }
  const file = join(root, 'gateway.json');
  writeFileSync(
    file,
    JSON.stringify({
      $schema: `./node_modules/${name}/gateway.schema.json`,
      listen: { port: 0, webSocket: {}, metrics: {} },
      authentication: { allowAnonymous: true },
      audit: { path: 'audit.jsonl' },
      state: { provider: 'redis', endpoints: [{ env: 'MCP_BLOCKS_REDIS_URL' }] },
      rateLimits: { limits: [{ by: 'ip', concurrent: 10 }] },
      services: { none: { urls: ['http://127.0.0.1:9/mcp'] } },
    }),
  );
  expect(JSON.parse(readFileSync(join(installed, 'gateway.schema.json'), 'utf8'))).toHaveProperty('properties.services');
  const cli = join(installed, bin['distributed-mcp-pattern'] as string);
  const command = new GatewayCommand(['gateway', '--config', file], { MCP_BLOCKS_REDIS_URL: process.env.MCP_BLOCKS_REDIS_URL }, cli);
  const [http] = await command.endpoints();
  expect((await fetch(new URL('/metrics', http))).status).toBe(200);
  command.child.kill('SIGTERM');
  expect(await command.ended).toEqual({ code: 0, signal: null });
});
