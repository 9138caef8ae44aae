import assert from 'node:assert/strict';
import type { TransportClient } from './transport-harness.js';
import { type TransportCase, type TransportTrial, transportCase } from './transport-trial.js';

const KIB = 1024;
const UPDATE_BYTES = 256 * KIB;
/** SDK clients go by the machine's clock: long enough for a call to reach its handler on a busy one. */
const DEADLINE_MS = 1000;
/** Turns of the event loop without a byte taken from the service, after which the flow is taken to have stopped. */
const QUIET_TURNS = 200;
/** Calls of somebody else while one client does not read. */
const ROUNDS = 25;

/** Slow readers, broken connections, silent peers, and what comes after. */
export const transportFailureCases: readonly TransportCase[] = [
  transportCase(
    'a client that does not read stops the flow, and gets everything once it reads',
    async (trial) => {
      const { client, link } = await trial.connect();
      const flood = await startFlood(trial, client, () => link.stall());
      await stopped(trial);
      link.resume();
      await trial.soon(flood.all, 'everything has arrived');
      await trial.probe.release('flood');
      await trial.soon(flood.answer, 'the call is answered');
      assert.deepEqual(
        flood.seen,
        Array.from({ length: flood.count }, (_unused, index) => index + 1),
      );
    },
    { needs: ['slow readers wait'] },
  ),
  transportCase(
    'a client that does not read for long is cut',
    async (trial) => {
      const { client, link } = await trial.connect();
      await startFlood(trial, client, () => link.stall());
      if (trial.harness.slowReaderTimeoutMs !== undefined) await outlast(trial, trial.harness.slowReaderTimeoutMs);
      await trial.aborted('flood');
      await checkTaken(trial);
    },
    { needs: ['slow readers are cut'] },
  ),
  transportCase(
    'a client that does not read holds nobody else up',
    async (trial) => {
      const { client, link } = await trial.connect();
      await startFlood(trial, client, () => link.stall());
      const other = (await trial.connect()).client;
      for (let round = 0; round < ROUNDS; round += 1) await trial.echo(other);
      link.cut();
      await trial.echo(other);
    },
    { needs: ['several clients'] },
  ),
  transportCase(
    'a connection that breaks aborts the handlers of its requests, and no others',
    async (trial) => {
      const { client, link } = await trial.connect();
      const other = await trial.another(client);
      await trial.hold(client, 'cut');
      const held = await trial.hold(other, 'other');
      link.cut();
      await trial.advance(10_000);
      await trial.aborted('cut');
      if (other === client) return;
      await trial.probe.release('other');
      await trial.soon(held.answer, 'the call of somebody else is answered');
    },
    { needs: ['loss aborts'] },
  ),
  transportCase(
    "a connection that breaks settles its client's requests",
    async (trial) => {
      const { client, link } = await trial.connect();
      const calls = [await trial.hold(client, 'silent'), await trial.holdBegun(client, 'begun')];
      link.cut();
      await trial.advance(10_000);
      for (const { answer } of calls) await trial.fails(answer, 'a call whose connection broke');
    },
    { needs: ['loss settles'] },
  ),
  transportCase(
    'a request whose connection breaks gets its answer over the next one',
    async (trial) => {
      const { client, link } = await trial.connect();
      const { answer } = await trial.holdBegun(client, 'resumed');
      link.cut();
      await trial.probe.release('resumed');
      await trial.soon(answer, 'the call is answered');
      assert.equal((await trial.probe.counts()).calls, 1);
    },
    { needs: ['resumption'] },
  ),
  transportCase(
    'the server gives up a client that has gone silent, in the time it says',
    async (trial) => {
      const { client, link } = await trial.connect();
      await trial.hold(client, 'silent');
      link.freeze();
      await trial.advance(trial.harness.livenessMs ?? 0);
      await trial.aborted('silent');
    },
    { needs: ['server liveness'] },
  ),
  transportCase(
    'the client gives up a server that has gone silent, in the time it says',
    async (trial) => {
      const { client, link } = await trial.connect();
      const { answer } = await trial.hold(client, 'silent');
      link.freeze();
      await trial.advance(trial.harness.livenessMs ?? 0);
      await trial.fails(answer, 'a call of a server that has gone silent');
    },
    { needs: ['client liveness'] },
  ),
  transportCase(
    'deadlines end on either end what a silent peer leaves open',
    async (trial) => {
      const { client, link } = await trial.connect();
      const { answer } = await trial.hold(client, 'silent', { timeoutMs: DEADLINE_MS });
      link.freeze();
      await trial.advance(DEADLINE_MS);
      await trial.fails(answer, 'a call of a server that has gone silent');
      await trial.aborted('silent');
      link.cut();
      if (trial.can('several clients')) await trial.echo((await trial.connect()).client);
    },
    { needs: ['request timeout'], requestTimeoutMs: DEADLINE_MS },
  ),
  transportCase(
    'a fresh connection after a broken one works, and nothing of the old one comes over it',
    async (trial) => {
      const old = await trial.connect();
      await trial.soon(old.client.listen(), 'the subscription is open');
      await trial.toldOfChanges(old.client);
      old.link.cut();
      const { client } = await trial.connect();
      await trial.echo(client);
      if (trial.can('explicit subscriptions')) {
        await trial.probe.publish();
        await trial.echo(client);
        assert.deepEqual([...client.notifications], [], 'a subscription of the broken connection goes on over the fresh one');
      }
      await trial.soon(client.listen(), 'the subscription is open');
      await trial.toldOfChanges(client);
      assert.equal((await trial.probe.counts()).running, 0);
    },
    { needs: ['several clients'] },
  ),
];

/** Starts a call with more progress than may wait for its client, and stalls it after the first. */
async function startFlood(trial: TransportTrial, client: TransportClient, stall: () => void) {
  const count = Math.ceil((2 * trial.maxUnreadBytes) / UPDATE_BYTES);
  const seen: unknown[] = [];
  const begun = Promise.withResolvers<void>();
  const all = Promise.withResolvers<void>();
  const answer = trial.send(
    client,
    'progress',
    { key: 'flood', count, bytes: UPDATE_BYTES, hold: true },
    {
      onProgress: ({ progress }) => {
        seen.push(progress);
        if (seen.length === 1) stall();
        begun.resolve();
        if (seen.length === count) all.resolve();
      },
    },
  );
  await trial.soon(begun.promise, 'the first progress has arrived');
  return { answer, seen, count, all: all.promise };
}

/** Lets the time of a slow reader pass, anew whenever the kernel has taken more after all: its buffers grow in its own time. */
async function outlast(trial: TransportTrial, slowReaderTimeoutMs: number): Promise<void> {
  for (let isMoving = true; isMoving; ) {
    const taken = await stopped(trial);
    await trial.advance(slowReaderTimeoutMs);
    await trial.eventually(async () => {
      const { sentBytes, running } = await trial.probe.counts();
      isMoving = sentBytes > taken;
      await new Promise((resolve) => setImmediate(resolve));
      return isMoving || running === 0;
    }, 'a client that does not read is cut');
  }
}

/** Resolves with what the transport has taken from the service, when it takes nothing more. */
async function stopped(trial: TransportTrial): Promise<number> {
  let quiet = 0;
  let taken = -1;
  await trial.eventually(async () => {
    const { sentBytes } = await trial.probe.counts();
    quiet = sentBytes === taken ? quiet + 1 : 0;
    taken = sentBytes;
    await new Promise((resolve) => setImmediate(resolve));
    return quiet >= QUIET_TURNS;
  }, 'the transport stops taking what its client does not read');
  await checkTaken(trial);
  assert.equal((await trial.probe.counts()).running, 1, 'the call ended while its client did not read');
  return taken;
}

async function checkTaken(trial: TransportTrial): Promise<void> {
  const { sentBytes } = await trial.probe.counts();
  assert.ok(
    sentBytes <= trial.maxUnreadBytes,
    `${sentBytes} bytes were taken for a client that does not read, more than ${trial.maxUnreadBytes}`,
  );
}
