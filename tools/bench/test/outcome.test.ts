import { describe, expect, it } from 'vitest';
import type { Contender } from '../src/contenders.ts';
import type { Way } from '../src/echo-request.ts';
import { RoundResults } from '../src/outcome.ts';

function contender(id: string, ways: readonly Way[]): Contender {
  return { id, title: id, note: '', ways, prepare: () => Promise.reject(new Error('not for this test')) };
}

const limit = contender('limit', ['modern']);
const sdk = contender('sdk-v2', ['modern', 'stateless']);
const peer = contender('peer', ['modern', 'stateless']);

function load(requestsPerSecond: number, generatorBusy = 0.1) {
  return { answers: 1, requestsPerSecond, p50Ms: 1, p99Ms: requestsPerSecond / 10, failures: 0, sent: 1, reasons: [], generatorBusy };
}

function threeRounds(): RoundResults {
  const results = new RoundResults();
  for (const [limitRps, sdkRps, peerRps] of [
    [1000, 100, 200],
    [500, 100, 250],
    [2000, 400, 300],
  ] as const) {
    results.startRound();
    results.add(limit, 'modern', load(limitRps, 0.5));
    results.add(sdk, 'modern', load(sdkRps));
    results.add(sdk, 'stateless', load(sdkRps / 2));
    results.add(peer, 'modern', load(peerRps));
    results.add(peer, 'stateless', load(peerRps));
  }
  return results;
}

const row = (results: RoundResults, id: string, way: Way) =>
  results.rows([limit, sdk, peer]).find((candidate) => candidate.contender.id === id && candidate.way === way);

describe('the rows of a run', () => {
  it('are medians, with ratios taken within each round and way', () => {
    const results = threeRounds();
    expect(row(results, 'peer', 'modern')).toMatchObject({
      requestsPerSecond: 250,
      range: [200, 300],
      p99Ms: 25,
      ofLimit: 0.2,
      ofSdkV2: 2,
    });
    expect(row(results, 'peer', 'stateless')).toMatchObject({ ofSdkV2: 4 });
    expect(row(results, 'limit', 'modern')).toMatchObject({ requestsPerSecond: 1000, ofLimit: 1 });
    expect(results.generatorBusy).toBe(0.5);
  });

  it('have no figures where one round failed, and the first reason', () => {
    const results = threeRounds();
    results.fail(peer, 'stateless', 'wrong answers');
    results.fail(peer, 'stateless', 'wrong again');
    expect(row(results, 'peer', 'stateless')).toEqual({ contender: peer, way: 'stateless', problem: 'wrong answers' });
    expect(row(results, 'peer', 'modern')).toMatchObject({ requestsPerSecond: 250 });
  });

  it('all say why when the contender could not be started', () => {
    const results = threeRounds();
    results.fail(peer, undefined, 'not installed');
    expect(results.rows([peer]).map(({ problem }) => problem)).toEqual(['not installed', 'not installed']);
    expect(results.failed(peer, 'modern')).toBe(true);
  });

  it('have no ratio to SDK v2 when that has failed', () => {
    const results = threeRounds();
    results.fail(sdk, 'modern', 'broken');
    expect(row(results, 'peer', 'modern')).not.toHaveProperty('ofSdkV2');
  });

  it('have no figures without the limit', () => {
    const results = threeRounds();
    results.fail(limit, 'modern', 'broken');
    expect(row(results, 'peer', 'modern')).toMatchObject({ problem: expect.stringContaining('nothing to compare with') });
  });
});
