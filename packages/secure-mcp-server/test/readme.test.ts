import { readFileSync } from 'node:fs';
import jsonwebtoken from 'jsonwebtoken';
import { expect, it, onTestFinished } from 'vitest';
import { oauth } from './readme/oauth.js';
import { sessionTable } from './readme/session-table.js';
import { connectHttp } from './support/clients.js';
import { callTool, SECRET, startHttp, testService } from './support/server.js';

const read = (path: string) => readFileSync(new URL(path, import.meta.url), 'utf8');

it.each(['orders', 'oauth', 'session-table'])("the README's example %s is the program that is tested here", (name) => {
  expect(read('../README.md')).toContain(`\`\`\`ts\n${read(`./readme/${name}.ts`)}\`\`\``);
});

it('a server that was there before is secured by the first example', async () => {
  const before = process.listeners('SIGTERM');
  Object.assign(process.env, { JWT_SECRET: SECRET, PORT: '0' });
  const { server } = await import('./readme/orders.js');
  onTestFinished(async () => {
    for (const listener of process.listeners('SIGTERM')) if (!before.includes(listener)) process.off('SIGTERM', listener);
    await server.stop();
  });
  const url = new URL(server.endpoints[0] as string);
  expect((await fetch(url, callTool('order_status', { id: '42' }, { authorization: '' }))).status).toBe(401);
  const token = jsonwebtoken.sign({ sub: 'ada', iss: 'https://login.example', aud: 'orders' }, SECRET, { expiresIn: 60 });
  const client = await connectHttp('auto', url, { headers: { authorization: `Bearer ${token}` } });
  const result = await client.callTool({ name: 'order_status', arguments: { id: '42' } });
  expect(result.content).toEqual([{ type: 'text', text: 'Order 42 has shipped' }]);
});

it('an authenticator of one’s own is one function', async () => {
  const { url, audit } = await startHttp({ service: testService().service, authenticators: [sessionTable(new Map([['s1', 'ada']]))] });
  const call = (session: string) => fetch(url, callTool('whoami', {}, { authorization: '', 'x-session': session }));
  expect(await (await call('s1')).text()).toContain('ada');
  expect((await call('s2')).status).toBe(401);
  expect(audit.events.at(-1)).toMatchObject({ type: 'auth.failed', reason: 'unknown session' });
});

it('the OAuth example tells clients where its metadata is', async () => {
  const { url } = await startHttp({ service: testService().service, authenticators: [oauth] });
  expect((await fetch(url, { method: 'POST' })).headers.get('www-authenticate')).toContain(`resource_metadata="${oauth.metadataUrl}"`);
  expect(await (await fetch(new URL(new URL(oauth.metadataUrl).pathname, url))).json()).toMatchObject({
    resource: 'https://mcp.example.com/mcp',
  });
});
