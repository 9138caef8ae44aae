import assert from 'node:assert/strict';
import { type TransportCase, transportCase } from './transport-trial.js';

const UPDATES = 50;
const IN_ORDER = Array.from({ length: UPDATES }, (_unused, index) => index + 1);
/** SDK clients go by the machine's clock: long enough for a call to reach its handler on a busy one. */
const DEADLINE_MS = 1000;

/** Progress, cancellation, deadlines, subscriptions: what happens while something is open. */
export const transportTimeCases: readonly TransportCase[] = [
  transportCase('progress arrives in order while the call runs', async (trial) => {
    const { client } = await trial.connect();
    const seen: unknown[] = [];
    const all = Promise.withResolvers<void>();
    const onProgress = ({ progress }: { progress?: unknown }) => {
      seen.push(progress);
      if (seen.length === UPDATES) all.resolve();
    };
    const args = { key: 'progress', count: UPDATES, bytes: 10, hold: true };
    const answer = trial.send(client, 'progress', args, { onProgress });
    await trial.soon(all.promise, 'all progress has arrived');
    assert.deepEqual(seen, IN_ORDER);
    await trial.probe.release('progress');
    await trial.soon(answer, 'the call is answered');
    assert.deepEqual(seen, IN_ORDER);
  }),
  transportCase(
    'progress right before the result is not lost',
    async (trial) => {
      const { client } = await trial.connect();
      const seen: unknown[] = [];
      const onProgress = ({ progress }: { progress?: unknown }) => void seen.push(progress);
      await trial.call(client, 'progress', { key: 'progress', count: UPDATES, bytes: 10 }, { onProgress });
      assert.deepEqual(seen, IN_ORDER);
    },
    { needs: ['turns'] },
  ),
  transportCase('a client that cancels a call aborts its handler, and no other', async (trial) => {
    const { client } = await trial.connect();
    const abort = new AbortController();
    const cancelled = await trial.hold(client, 'cancelled', { signal: abort.signal });
    const other = await trial.hold(client, 'other');
    abort.abort();
    await trial.fails(cancelled.answer, 'the cancelled call');
    await trial.aborted('cancelled');
    assert.equal((await trial.probe.counts()).running, 1);
    await trial.probe.release('other');
    await trial.soon(other.answer, 'the other call is answered');
  }),
  transportCase(
    'a client that closes aborts what it had running',
    async (trial) => {
      const { client } = await trial.connect();
      const { answer } = await trial.hold(client, 'left');
      const closed = client.close();
      await trial.advance(10_000);
      await trial.soon(closed, 'the client has closed');
      await trial.fails(answer, 'a call of a closed client');
      await trial.aborted('left');
    },
    { needs: ['loss aborts'] },
  ),
  transportCase(
    'a server that closes settles what its clients wait for',
    async (trial) => {
      const { client } = await trial.connect();
      const { answer } = await trial.hold(client, 'unfinished');
      await trial.soon(trial.server.stop(), 'the server has closed');
      await trial.fails(answer, 'a call of a server that has closed');
    },
    { needs: ['loss settles'] },
  ),
  transportCase("the client's deadline ends its request and aborts the handler", async (trial) => {
    const { client } = await trial.connect();
    const { answer } = await trial.hold(client, 'slow', { timeoutMs: DEADLINE_MS });
    await trial.advance(DEADLINE_MS);
    await trial.fails(answer, 'the call past its deadline');
    await trial.aborted('slow');
    await trial.echo(client);
  }),
  transportCase(
    "the server's deadline aborts the handler and tells the client",
    async (trial) => {
      const { client } = await trial.connect();
      const { answer } = await trial.hold(client, 'slow');
      await trial.advance(DEADLINE_MS);
      const error = await trial.fails(answer, 'the call past its deadline');
      assert.equal(error.code, 408, error.message);
      await trial.aborted('slow');
      await trial.echo(client);
    },
    { needs: ['request timeout'], requestTimeoutMs: DEADLINE_MS },
  ),
  transportCase('changes reach a client that wants to know', async (trial) => {
    const { client } = await trial.connect();
    await trial.soon(client.listen(), 'the subscription is open');
    await trial.toldOfChanges(client);
    await trial.toldOfChanges(client);
  }),
  transportCase(
    'changes reach no client that did not ask, nor one that has ended its subscription',
    async (trial) => {
      const { client } = await trial.connect();
      await trial.probe.publish();
      await trial.echo(client);
      assert.deepEqual([...client.notifications], []);
      const stop = await trial.soon(client.listen(), 'the subscription is open');
      await trial.toldOfChanges(client);
      await trial.soon(stop(), 'the subscription is ended');
      // Changes published before the end may still arrive.
      await trial.eventually(async () => {
        const before = client.notifications.length;
        await trial.probe.publish();
        await trial.echo(client);
        return client.notifications.length === before;
      }, 'the client is told no more');
    },
    { needs: ['explicit subscriptions'] },
  ),
  transportCase('a closed client is told nothing more', async (trial) => {
    const { client } = await trial.connect();
    await trial.soon(client.listen(), 'the subscription is open');
    await trial.toldOfChanges(client);
    const other = trial.can('several clients') ? (await trial.connect()).client : undefined;
    if (other !== undefined) {
      await trial.soon(other.listen(), "the other's subscription is open");
      await trial.toldOfChanges(other);
    }
    await trial.soon(client.close(), 'the client has closed');
    const told = client.notifications.length;
    await trial.probe.publish();
    if (other !== undefined) await trial.toldOfChanges(other);
    assert.equal(client.notifications.length, told);
  }),
  transportCase('a server that has closed leaves nothing running and nobody subscribed', async (trial) => {
    const { client } = await trial.connect();
    await trial.soon(client.listen(), 'the subscription is open');
    await trial.toldOfChanges(client);
    await trial.hold(client, 'unfinished');
    await trial.soon(trial.server.stop(), 'the server has closed');
    await trial.aborted('unfinished');
    const { running, subscribers } = await trial.probe.counts();
    assert.deepEqual({ running, subscribers }, { running: 0, subscribers: 0 });
  }),
];
