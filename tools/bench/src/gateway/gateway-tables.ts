import { cell, whole } from '../report.ts';
import { CONNECTIONS, type GatewayCell, type GatewayFigures, type GatewayRow } from './gateway-rounds.ts';

/** Everything in Markdown, a table for each number of connections. */
export function gatewayTables({ rows }: GatewayFigures): string {
  return CONNECTIONS.map((connections, at) =>
    [
      `| ${connections} ${connections === 1 ? 'connection' : 'connections'} | req/s | of direct | of a bare Node proxy | p50 ms | p99 ms | added p50 µs | added p99 µs |`,
      '|---|--:|--:|--:|--:|--:|--:|--:|',
      ...rows.map((row) => line(row, at)),
    ].join('\n'),
  ).join('\n\n');
}

function line(row: GatewayRow, at: number): string {
  const { station } = row;
  if (row.problem !== undefined) return `| ${station.title} | not measured: ${cell(row.problem)} | | | | | | |`;
  const { requestsPerSecond, ofDirect, ofBare, p50Ms, p99Ms, addedP50Ms, addedP99Ms } = row.cells[at] as GatewayCell;
  const added = (ms: number) => (station.id === 'direct' ? '' : whole(ms * 1000));
  const ratio = (value: number) => (Number.isNaN(value) ? '' : value.toFixed(2));
  return `| ${station.title} | ${whole(requestsPerSecond)} | ${ratio(ofDirect)} | ${ratio(ofBare)} | ${p50Ms.toFixed(3)} | ${p99Ms.toFixed(3)} | ${added(addedP50Ms)} | ${added(addedP99Ms)} |`;
}

/** The last line of a run. */
export function gatewayHeadline({ rows }: GatewayFigures): string {
  const loaded = rows.find(({ station }) => station.id === 'gateway-loaded');
  if (loaded === undefined) return 'bench: the fully loaded gateway was not measured in this run';
  if (loaded.problem !== undefined) return `bench: the fully loaded gateway could not be measured: ${cell(loaded.problem)}`;
  const [, eight, many] = loaded.cells as [GatewayCell, GatewayCell, GatewayCell];
  return `bench: gateway, fully loaded: ${many.ofBare.toFixed(2)} of a bare Node proxy at 32 connections, ${whole(many.requestsPerSecond)} req/s; adds ${whole(eight.addedP50Ms * 1000)} µs p50 at 8`;
}
