import { expect, it } from 'vitest';
import { CONNECTIONS, measureGateways } from '../src/gateway/gateway-rounds.ts';
import { gatewayHeadline, gatewayTables } from '../src/gateway/gateway-tables.ts';
import { type RunningStation, STATIONS, type Station } from '../src/gateway/stations.ts';

const pinning = { server: [], generator: [], description: 'not pinned' };
const counts = { rounds: 1, seconds: 60, warmUpSeconds: 0, requests: 64 };
const station = (id: Station['id']) => STATIONS.find((known) => known.id === id) as Station;

/** A station that is started as another one and says something else of itself. */
const lying = (base: Station, claim: RunningStation['announcement']): Station => ({
  ...base,
  async start(nodePort, pinned) {
    const started = await base.start(nodePort, pinned);
    return { announcement: { ...claim, port: started.announcement.port }, stop: (read) => started.stop(read) };
  },
});

// How fast anything is depends on the machine: what is looked at is that everything is measured, and what is wrong is not.
it('measures every way to the node, and shows none that does not do what it is measured for', { timeout: 300_000 }, async () => {
  const open = lying(station('bare'), { port: 0, refused: ['Bearer forged'] });
  const gone: Station = { ...station('bare'), start: () => Promise.reject(new Error('it is not installed')) };
  const sound = STATIONS.filter(({ id }) => id !== 'mcp-proxy');
  const figures = await measureGateways(counts, [...sound, open, gone], pinning, () => {});
  const [openRow, goneRow] = figures.rows.slice(-2);
  expect(openRow?.problem).toContain('has no right to it');
  expect(goneRow?.problem).toBe('it is not installed');
  for (const { station: measured, cells, problem } of figures.rows.slice(0, -2) as {
    station: Station;
    cells?: object[];
    problem?: string;
  }[]) {
    expect(problem, measured.id).toBeUndefined();
    expect(cells).toHaveLength(CONNECTIONS.length);
    for (const figure of cells?.flatMap((cell) => Object.values(cell)) ?? []) expect(figure).toEqual(expect.any(Number));
    expect(cells?.flatMap((cell) => Object.values(cell)).every(Number.isFinite)).toBe(true);
  }
  expect(figures.rows[0]).toMatchObject({ cells: CONNECTIONS.map(() => ({ ofDirect: 1, addedP50Ms: 0, addedP99Ms: 0 })) });
  const tables = gatewayTables(figures);
  expect(tables).toContain('| 32 connections | req/s |');
  expect(tables).toContain('| not measured: it is not installed |');
  expect(gatewayHeadline(figures)).toMatch(/^bench: gateway, fully loaded: \d+\.\d\d of a bare Node proxy at 32 connections, /);
});
