import assert from 'node:assert/strict';
import type { JsonObject } from '../json.js';
import { BUG_SECRET } from './transport-test-service.js';
import { type TransportCase, transportCase } from './transport-trial.js';

/** Room for everything in a message besides the one large member. */
const ENVELOPE_BYTES = 4096;
const MIB = 1024 * 1024;
const CONCURRENT = 200;

/** Calls, their size and number, questions to the user, and errors. */
export const transportCallCases: readonly TransportCase[] = [
  transportCase('a call reaches the service once, and comes back as it was sent', async (trial) => {
    const { client } = await trial.connect();
    const args = { text: 'ü😀\u0000\n\r\u2028"\\', deep: [[{ a: [null, -1.5, 1e21, true] }]], '': '', __proto__x: {} };
    await trial.echo(client, args);
    assert.equal((await trial.probe.counts()).calls, 1);
    const { tools } = await trial.soon(client.request('tools/list', {}), 'tools/list is answered');
    assert.ok((tools as { name: string }[]).some(({ name }) => name === 'echo'));
  }),
  transportCase('a megabyte goes either way unharmed', async (trial) => {
    const { client } = await trial.connect();
    // Three bytes a character in UTF-8, so that chunks end inside of one.
    await trial.echo(client, { payload: '€1'.repeat(MIB / 4) });
  }),
  transportCase('a message just under the limit is served', async (trial) => {
    const { client } = await trial.connect();
    const bytes = trial.maxMessageBytes - ENVELOPE_BYTES;
    assert.equal((await trial.call(client, 'size', { bytes: 3, padding: 'x'.repeat(bytes) })).length, 3);
    assert.equal((await trial.call(client, 'size', { bytes })).length, bytes);
  }),
  transportCase(
    'a message over the limit never reaches the service, and harms nobody else',
    async (trial) => {
      const { client } = await trial.connect();
      const other = await trial.another(client);
      const held = await trial.hold(other, 'other');
      // Where nobody can say whose message it was, the caller's own deadline ends it.
      const tooLarge = trial.send(client, 'echo', { padding: 'x'.repeat(trial.maxMessageBytes) }, { timeoutMs: 200 });
      await trial.advance(200);
      await trial.fails(tooLarge, 'the call that is too large');
      await trial.probe.release('other');
      await trial.soon(held.answer, 'the call of somebody else is answered');
      const next = trial.can('several clients') ? (await trial.connect()).client : client;
      await trial.echo(next);
      assert.equal((await trial.probe.counts()).calls, 2);
    },
    { needs: ['size limit'] },
  ),
  transportCase(
    'the caller of a message over the limit is told so',
    async (trial) => {
      const { client } = await trial.connect();
      const error = await trial.fails(
        trial.send(client, 'echo', { padding: 'x'.repeat(trial.maxMessageBytes) }),
        'the call that is too large',
      );
      const told = [error, ...client.errors].map((each) => `${String((each as { code?: unknown }).code)} ${each.message}`);
      assert.ok(
        told.some((text) => /413|payload_too_large|too large|too big|larger than/i.test(text)),
        `nothing of what the caller was told names the size: ${told.join('; ')}`,
      );
    },
    { needs: ['size limit', 'size errors'] },
  ),
  transportCase('hundreds of concurrent calls each get their own answer', async (trial) => {
    const { client } = await trial.connect();
    await Promise.all(
      // The later ones are done first.
      Array.from({ length: CONCURRENT }, (_unused, index) => {
        const args = { index, padding: 'x'.repeat(index) };
        const expected = JSON.stringify({ protocolVersion: trial.protocolVersion, args });
        return trial.call(client, 'echo', { ...args, turns: (CONCURRENT - index) % 20 }).then((text) => assert.equal(text, expected));
      }),
    );
    assert.equal((await trial.probe.counts()).calls, CONCURRENT);
  }),
  transportCase('a quick call is not held up by a slow one', async (trial) => {
    const { client } = await trial.connect();
    const slow = await trial.hold(client, 'slow');
    const quick = await trial.hold(client, 'quick');
    await trial.probe.release('quick');
    await trial.soon(quick.answer, 'the quick call is answered');
    await trial.probe.release('slow');
    await trial.soon(slow.answer, 'the slow call is answered');
  }),
  transportCase('a call that asks its user twice gets both answers', async (trial) => {
    const { client } = await trial.connect();
    assert.equal(await trial.call(client, 'ask'), 'Ada of London');
    assert.deepEqual(trial.asked, ['Who is it?', 'Where does Ada live?']);
  }),
  transportCase(
    'a request of the server to its client is answered',
    async (trial) => {
      const { client } = await trial.connect();
      const slow = await trial.hold(client, 'slow');
      assert.equal(await trial.call(client, 'ask-directly'), 'Ada');
      await trial.probe.release('slow');
      await trial.soon(slow.answer, 'the other call is answered');
    },
    { only: { era: 'legacy', because: 'in 2026-07-28 servers send no requests' } },
  ),
  ...(
    [
      ['an application error', 'tools/call', tool('fail', { how: 'application' }), 429, { retryAfterMs: 1500, reason: 'rate_limited' }],
      ['an error in the arguments', 'tools/call', tool('fail', { how: 'arguments' }), -32602, { path: 'arguments.how' }],
      ['an unknown tool', 'tools/call', tool('nothing', {}), -32602, undefined],
      ['an unknown method', 'test/nothing', {}, -32601, undefined],
    ] as const
  ).map(([what, method, params, code, data]) =>
    transportCase(`${what} arrives with code and data`, async (trial) => {
      const { client } = await trial.connect();
      const error = await trial.fails(client.request(method, params), what);
      assert.deepEqual({ code: error.code, data: error.data }, { code, data }, error.message);
      await trial.echo(client);
    }),
  ),
  transportCase("a bug's details stay on the server, a tool's own error does not", async (trial) => {
    const { client } = await trial.connect();
    const error = await trial.fails(trial.send(client, 'fail', { how: 'bug' }), 'the call with the bug');
    assert.equal(error.code, -32603);
    assert.ok(!`${error.message} ${JSON.stringify(error.data)}`.includes(BUG_SECRET), 'the caller was told a detail');
    const failed = await trial.soon(trial.send(client, 'fail', { how: 'tool' }), 'the failing tool has answered');
    assert.equal(failed.isError, true);
  }),
];

function tool(name: string, args: JsonObject): JsonObject {
  return { name, arguments: args };
}
