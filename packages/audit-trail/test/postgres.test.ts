import { readFileSync } from 'node:fs';
import { createServer, type Socket, connect as tcp } from 'node:net';
import { auditSinkContract, settle } from '@mcp-blocks/core/testing';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { runAuditCommand } from '../src/command.js';
import { exportAuditTrail, pruneAuditTrail, queryAuditTrail, readAuditTrail, verifyAuditTrail } from '../src/index.js';
import { PostgresAuditSink, type PostgresAuditSinkOptions, postgresAuditSchema, postgresTrail } from '../src/postgres.js';
import { event } from './trails.js';

const OWNER_URL = process.env['MCP_BLOCKS_POSTGRES_URL'] ?? '';
const WRITER = `writer_${process.pid}`;
const writerUrl = new URL(OWNER_URL);
writerUrl.username = WRITER;
writerUrl.password = 'writer-password';

let owner: pg.Client;
let schemas = 0;

beforeAll(async () => {
  owner = new pg.Client({ connectionString: OWNER_URL });
  await owner.connect();
  await owner.query(`CREATE ROLE ${WRITER} LOGIN PASSWORD 'writer-password'`);
});

afterAll(async () => {
  await owner.query(`DROP OWNED BY ${WRITER}; DROP ROLE ${WRITER}`);
  await owner.end();
});

/** A fresh trail: the options of its sink, and how its owner reads it. */
async function trail() {
  const schema = `audit_${process.pid}_${(schemas += 1)}`;
  await owner.query(postgresAuditSchema({ schema, writer: WRITER }));
  onTestFinished(async () => void (await owner.query(`DROP SCHEMA ${schema} CASCADE`)));
  const sinkOptions: PostgresAuditSinkOptions = { url: writerUrl.href, schema, batchDelayMs: 0, retryDelayMs: 10 };
  const stored = postgresTrail({ url: OWNER_URL, schema });
  const events = async () => {
    const all = [];
    for await (const record of readAuditTrail(stored)) all.push(record.event);
    return all;
  };
  return { schema, sinkOptions, stored, events };
}

async function written(count: number) {
  const made = await trail();
  const sink = await PostgresAuditSink.open(made.sinkOptions);
  for (let time = 1; time <= count; time += 1) sink.record({ ...event(time), target: `t${time}` });
  await sink.close();
  return { ...made, head: sink.head };
}

/** Runs SQL as a superuser for whom the triggers do not count: somebody who tampers. */
async function tamper(sql: string): Promise<void> {
  await owner.query(`BEGIN; SET LOCAL session_replication_role = replica; ${sql}; COMMIT`);
}

describe('the PostgreSQL sink', () => {
  for (const { name, run } of auditSinkContract) {
    it(name, () =>
      run({
        create: async () => {
          const { sinkOptions, events } = await trail();
          return { sink: await PostgresAuditSink.open(sinkOptions), stored: events };
        },
      }),
    );
  }

  it('continues the chain after a restart, and verifies', async () => {
    const { sinkOptions, stored } = await written(3);
    const sink = await PostgresAuditSink.open(sinkOptions);
    sink.record(event(4));
    await sink.flush();
    expect(await verifyAuditTrail(stored)).toEqual({ ok: true, records: 4, head: sink.head, unanchored: 0 });
    expect(await verifyAuditTrail(postgresTrail({ ...sinkOptions }), { publishedHead: sink.head })).toMatchObject({ ok: true });
    await sink.close();
  });

  it('has one writer at a time', async () => {
    const { sinkOptions } = await trail();
    const first = await PostgresAuditSink.open(sinkOptions);
    await expect(PostgresAuditSink.open(sinkOptions)).rejects.toMatchObject({
      code: 'unavailable',
      message: expect.stringContaining('writer'),
    });
    await first.close();
    await (await PostgresAuditSink.open(sinkOptions)).close();
  });

  it.each(['UPDATE', 'DELETE', 'TRUNCATE', 'anchor'])('its role cannot %s, and its owner only with the trigger gone', async (what) => {
    const { schema } = await written(2);
    const sql = {
      UPDATE: `UPDATE ${schema}.audit_records SET actor = 'eve'`,
      DELETE: `DELETE FROM ${schema}.audit_records`,
      TRUNCATE: `TRUNCATE ${schema}.audit_heads`,
      anchor: `INSERT INTO ${schema}.audit_anchors VALUES (1, 'x')`,
    }[what] as string;
    const writer = new pg.Client({ connectionString: writerUrl.href });
    await writer.connect();
    await expect(writer.query(sql)).rejects.toMatchObject({ code: '42501' });
    await writer.end();
    if (what !== 'anchor') await expect(owner.query(sql)).rejects.toThrow(/append-only/);
  });

  it.each<[what: string, sql: (schema: string) => string, problem: object]>([
    [
      'a changed record',
      (s) => `UPDATE ${s}.audit_records SET record = replace(record, '"t2"', '"t9"') WHERE seq = 2`,
      { seq: 2, kind: 'changed' },
    ],
    ['a changed column', (s) => `UPDATE ${s}.audit_records SET actor = 'eve' WHERE seq = 2`, { seq: 2, kind: 'changed' }],
    ['a dropped record', (s) => `DELETE FROM ${s}.audit_records WHERE seq = 2`, { seq: 2, kind: 'missing' }],
    ['records cut off the end', (s) => `DELETE FROM ${s}.audit_records WHERE seq > 1`, { seq: 2, kind: 'truncated' }],
    ['heads that are gone', (s) => `DELETE FROM ${s}.audit_heads`, { seq: 4, kind: 'truncated' }],
    ['a record stored as another', (s) => `UPDATE ${s}.audit_records SET seq = 9 WHERE seq = 3`, { seq: 3, kind: 'changed' }],
  ])('%s is found, and a sink does not go on where the end is wrong', async (_what, sql, problem) => {
    const { schema, stored, sinkOptions } = await written(3);
    await tamper(sql(schema));
    expect(await verifyAuditTrail(stored)).toMatchObject({ ok: false, problem });
    if ((problem as { kind: string }).kind === 'truncated') {
      await expect(PostgresAuditSink.open(sinkOptions)).rejects.toMatchObject({ code: 'internal_error' });
    }
  });

  it('is queried and exported by what an index knows, text that PostgreSQL has not included', async () => {
    const { stored, sinkOptions } = await trail();
    const sink = await PostgresAuditSink.open(sinkOptions);
    const actors = ['alice', 'a\0b', '\ud800', 'alice'];
    for (const [index, actor] of actors.entries()) sink.record({ ...event(index), actor });
    await sink.close();
    for (const actor of actors) {
      const { records } = await queryAuditTrail(stored, { actor, from: 0, to: 4 });
      expect(records.map(({ event }) => event.actor)).toEqual(actors.filter((one) => one === actor));
    }
    const first = await queryAuditTrail(stored, { actor: 'alice', limit: 1 });
    expect(first).toMatchObject({ records: [{ seq: 1 }], cursor: '1' });
    expect((await queryAuditTrail(stored, { actor: 'alice', cursor: '1' })).records).toMatchObject([{ seq: 4 }]);
    const lines = [];
    for await (const line of exportAuditTrail(stored, { format: 'csv', actor: 'alice' })) lines.push(line);
    expect(lines).toHaveLength(3);
  });

  it('takes text that is too long for an index, and finds it by the whole of it', async () => {
    const { sinkOptions, stored } = await trail();
    // Text that does not compress, as a caller may choose a tool's name or a URI.
    const long = Array.from({ length: 8_192 }, (_, index) => String.fromCharCode(0x4e00 + ((index * 7_919) % 20_000))).join('');
    const failures: Error[] = [];
    const sink = await PostgresAuditSink.open({ ...sinkOptions, onError: (error) => failures.push(error) });
    for (const target of [`${long}a`, `${long}b`]) sink.record({ ...event(1), actor: long, target });
    await sink.close();
    expect(failures).toEqual([]);
    expect(await verifyAuditTrail(stored)).toMatchObject({ ok: true, records: 2 });
    expect((await queryAuditTrail(stored, { actor: long, target: `${long}b` })).records.map(({ seq }) => seq)).toEqual([2]);
  });

  it('is pruned by its owner, also while it is written, and by nobody else', async () => {
    const { stored, sinkOptions, events } = await written(4);
    const sink = await PostgresAuditSink.open(sinkOptions);
    await expect(pruneAuditTrail(postgresTrail(sinkOptions), { keepRecords: 1 })).rejects.toThrow(/must be owner/);
    expect(await pruneAuditTrail(stored, { before: 4, anchorKey: 'a-key-of-16-chars' })).toMatchObject({ pruned: 3, kept: 1 });
    sink.record(event(5));
    await sink.flush();
    expect(await pruneAuditTrail(stored, { keepRecords: 0, anchorKey: 'a-key-of-16-chars' })).toMatchObject({ pruned: 2, kept: 0 });
    await sink.close();
    const again = await PostgresAuditSink.open(sinkOptions);
    again.record(event(6));
    await again.close();
    expect((await events()).map(({ time }) => time)).toEqual([6]);
    expect(await verifyAuditTrail(stored, { anchorKey: 'a-key-of-16-chars' })).toMatchObject({
      ok: true,
      records: 1,
      pruned: { seq: 5, count: 2 },
    });
    await expect(owner.query(`DELETE FROM ${sinkOptions.schema}.audit_records`)).rejects.toThrow(/append-only/);
  });

  it('the command takes its URL', async () => {
    const { schema, head } = await written(2);
    let said = '';
    const print = (line: string) => void (said += line);
    const code = await runAuditCommand(['verify', OWNER_URL, '--schema', schema], { print, write: async () => {} });
    expect(said).toContain(`intact, 2 records, head 2:${head.hash}`);
    expect(code).toBe(0);
  });
});

/** A way to the database that can be cut, also just before the answer to a commit comes back. */
async function cuttableWay() {
  const target = new URL(OWNER_URL);
  const open = new Set<Socket>();
  let mode: 'open' | 'mute' | 'shut' = 'open';
  const server = createServer((from) => {
    if (mode === 'shut') {
      from.destroy();
      return;
    }
    const to = tcp({ host: target.hostname, port: Number(target.port) });
    for (const socket of [from, to]) {
      open.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => {
        from.destroy();
        to.destroy();
      });
    }
    from.pipe(to);
    to.on('data', (data) => {
      if (mode === 'mute') from.destroy();
      else from.write(data);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(async () => {
    for (const socket of open) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  const url = new URL(writerUrl);
  url.port = String((server.address() as { port: number }).port);
  return {
    url: url.href,
    set: (next: typeof mode) => {
      mode = next;
      if (next === 'shut') for (const socket of open) socket.destroy();
    },
  };
}

it('the SQL in the README is what postgresAuditSchema makes', () => {
  expect(readFileSync(new URL('../README.md', import.meta.url), 'utf8')).toContain(postgresAuditSchema({ writer: 'mcp_audit_writer' }));
});

describe('when the database goes away', () => {
  it('what was accepted is kept and written once it is back', async () => {
    const { sinkOptions, events, stored } = await trail();
    const way = await cuttableWay();
    const sink = await PostgresAuditSink.open({ ...sinkOptions, url: way.url, maxQueuedRecords: 3 });
    sink.record(event(1));
    await sink.flush();
    way.set('shut');
    for (const time of [2, 3, 4]) sink.record(event(time));
    await expect(sink.flush()).rejects.toMatchObject({ code: 'unavailable' });
    expect(() => sink.record(event(5))).toThrow(expect.objectContaining({ code: 'unavailable' }));
    way.set('open');
    await sink.close();
    expect((await events()).map(({ time }) => time)).toEqual([1, 2, 3, 4]);
    expect(await verifyAuditTrail(stored)).toMatchObject({ ok: true, records: 4 });
  });

  it('what was committed although the answer was lost is not written twice', async () => {
    const { sinkOptions, events, stored } = await trail();
    const way = await cuttableWay();
    const sink = await PostgresAuditSink.open({ ...sinkOptions, url: way.url, retryDelayMs: 60_000 });
    way.set('mute');
    sink.record(event(1));
    sink.record(event(2));
    await expect(sink.flush()).rejects.toMatchObject({ code: 'unavailable' });
    expect(await events()).toHaveLength(2);
    way.set('open');
    sink.record(event(3));
    await sink.close();
    expect((await events()).map(({ time }) => time)).toEqual([1, 2, 3]);
    expect(await verifyAuditTrail(stored)).toMatchObject({ ok: true, records: 3 });
    await settle();
  });

  it('opening says so', async () => {
    await expect(PostgresAuditSink.open({ url: 'postgres://127.0.0.1:1/x' })).rejects.toMatchObject({ code: 'unavailable' });
  });
});

it.each<[options: object, option: string]>([
  [{ url: 'mysql://u:pw@x' }, 'url'],
  [{ url: 'postgres://x', schema: 'a;b' }, 'schema'],
  [{ url: 'postgres://x', timeoutMs: 0 }, 'timeoutMs'],
])('refuses %j without repeating a password', async (options, option) => {
  const error = await PostgresAuditSink.open(options as PostgresAuditSinkOptions).catch((reason: unknown) => reason);
  expect(error).toMatchObject({ name: 'ConfigurationError', option, message: expect.not.stringContaining('pw') });
  expect(() => postgresAuditSchema({ writer: 'a b' })).toThrow(expect.objectContaining({ option: 'writer' }));
});
