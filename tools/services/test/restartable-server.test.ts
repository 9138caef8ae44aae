import { connect } from 'node:net';
import { expect, it } from 'vitest';
import { DEFINITIONS } from '../src/definitions/index.ts';
import { startRestartable } from '../src/restartable-server.ts';

/** Redis's answer to a command. */
function ask(port: number, command: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port }, () => socket.write(`${command}\r\n`));
    socket.once('error', reject);
    socket.once('data', (data) => {
      socket.destroy();
      resolve(data.toString().trim());
    });
  });
}

it('starts a server again on the same port with the data it had, and leaves nothing behind', { timeout: 60_000 }, async () => {
  const server = await startRestartable('redis', ['--appendonly', 'yes', '--appendfsync', 'always']);
  const port = Number(new URL(server.url).port);
  try {
    expect(await ask(port, 'SET kept here')).toBe('+OK');
    await server.kill();
    expect(await DEFINITIONS.redis.answers(port)).toBe(false);
    await server.start();
    expect(await ask(port, 'GET kept')).toMatch(/here$/);
  } finally {
    await server.stop();
  }
  expect(await DEFINITIONS.redis.answers(port)).toBe(false);
});
