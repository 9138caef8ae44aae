import { request as httpRequest } from 'node:http';
import { ConfigurationError } from '@mcp-blocks/core';
import { ManualClock, testContext } from '@mcp-blocks/core/testing';
import { Counter, Registry } from 'prom-client';
import { describe, expect, it } from 'vitest';
import { http, SecureMCPServer } from '../src/index.js';
import { type PrometheusOptions, prometheus } from '../src/prometheus.js';
import { callTool, modernRequest, startHttp, testService } from './support/server.js';

/** GET on a connection of its own, with exactly these headers. */
const scrape = (url: URL, headers: Record<string, string> = {}, path = '/metrics') =>
  new Promise<{ status: number; type: string; text: string }>((resolve, reject) => {
    httpRequest({ host: url.hostname, port: url.port, path, headers, agent: false }, (response) => {
      let text = '';
      response.on('data', (chunk) => (text += chunk));
      response.on('end', () => resolve({ status: response.statusCode as number, type: String(response.headers['content-type']), text }));
    })
      .once('error', reject)
      .end();
  });

const start = (options?: PrometheusOptions, more: { trustedProxies?: string[] } = {}) =>
  startHttp({ service: testService().service, http: { metrics: prometheus(options), ...more } });

describe('the page of metrics', () => {
  it('counts requests, failures, connections and time in the text format of Prometheus', async () => {
    const clock = new ManualClock(Date.now());
    const { url } = await startHttp({ service: testService().service, clock, http: { metrics: prometheus() } });
    await (await fetch(url, callTool('echo'))).text();
    await (await fetch(url, callTool('limited'))).text();
    await (await fetch(url, callTool('bug'))).text();
    await (await fetch(url, callTool('echo', {}, { authorization: 'Bearer wrong' }))).text();
    await clock.advance(2500);
    const { status, type, text } = await scrape(url);
    expect([status, type]).toEqual([200, 'text/plain; version=0.0.4; charset=utf-8']);
    for (const line of [
      'mcp_server_requests_total{method="tools/call",transport="http",outcome="ok"} 1',
      'mcp_server_requests_total{method="tools/call",transport="http",outcome="rate_limited"} 1',
      'mcp_server_requests_total{method="tools/call",transport="http",outcome="internal_error"} 1',
      'mcp_server_request_duration_seconds_bucket{le="0.01",method="tools/call"} 3',
      'mcp_server_request_duration_seconds_bucket{le="300",method="tools/call"} 3',
      'mcp_server_request_duration_seconds_count{method="tools/call"} 3',
      'mcp_server_auth_failures_total{transport="http"} 1',
      'mcp_server_rate_limited_total{transport="http"} 1',
      'mcp_server_errors_total 1',
      'mcp_server_uptime_seconds 2.5',
    ]) {
      expect(text.split('\n')).toContain(line);
    }
    expect(text).toMatch(/^mcp_server_active_connections [1-9]/m);
    expect(text).toMatch(/^process_cpu_seconds_total /m);
    // Counters that are read from elsewhere do not add up with each scrape.
    expect((await scrape(url)).text.split('\n')).toContain('mcp_server_errors_total 1');
  });

  it('has no more time series than methods, whatever callers send', async () => {
    const { url } = await start();
    for (let n = 0; n < 5; n += 1) await (await fetch(url, modernRequest(`made/up-${n}`))).text();
    const { text } = await scrape(url);
    expect(text).toContain('mcp_server_requests_total{method="_OTHER",transport="http",outcome="method_not_found"} 5');
    expect(text).not.toContain('made/up');
  });

  it('is not there unless the options say so', async () => {
    const { url } = await startHttp({ service: testService().service });
    expect((await scrape(url)).status).toBe(404);
  });

  it('is on the path it is given, and read with GET only', async () => {
    const { url } = await start({ path: '/internal/metrics' });
    expect((await scrape(url, {}, '/internal/metrics')).status).toBe(200);
    expect((await scrape(url)).status).toBe(404);
    expect((await fetch(new URL('/internal/metrics', url), { method: 'POST' })).status).toBe(405);
  });

  it('shares a registry with your own metrics, and stops with the server', async () => {
    const registry = new Registry();
    new Counter({ name: 'orders_total', help: 'Orders.', registers: [registry] }).inc(3);
    const { url, server } = await start({ registry });
    await (await fetch(url, callTool('echo'))).text();
    const { text } = await scrape(url);
    expect(text).toContain('orders_total 3');
    expect(text).not.toContain('process_cpu');
    await server.stop();
    await server.start();
    const again = new URL(server.endpoints[0] as string);
    await (await fetch(again, callTool('echo'))).text();
    expect((await scrape(again)).text).toContain('mcp_server_requests_total{method="tools/call",transport="http",outcome="ok"} 2');
  });

  it.each<[string, PrometheusOptions | undefined, { trustedProxies?: string[] }, Record<string, string>, number]>([
    ['the machine itself by default', undefined, {}, {}, 200],
    ['not who comes through a proxy nobody knows', undefined, {}, { 'x-forwarded-for': '127.0.0.1' }, 403],
    ['nor through one that says it differently', undefined, {}, { forwarded: 'for=127.0.0.1' }, 403],
    [
      'not who comes through a known proxy from elsewhere',
      undefined,
      { trustedProxies: ['127.0.0.1'] },
      { 'x-forwarded-for': '192.0.2.7' },
      403,
    ],
    [
      'who comes through a known proxy from an allowed network',
      { allow: ['192.0.2.0/24'] },
      { trustedProxies: ['127.0.0.0/8'] },
      { 'x-forwarded-for': 'nonsense, 192.0.2.7' },
      200,
    ],
    [
      'not what the client itself wrote into the header',
      { allow: ['192.0.2.0/24'] },
      { trustedProxies: ['127.0.0.0/8'] },
      { 'x-forwarded-for': '192.0.2.7, 198.51.100.1' },
      403,
    ],
    ['only listed networks', { allow: ['10.0.0.0/8'] }, {}, {}, 403],
    ['nobody with another token', { token: 'abcdefghijklmnop' }, {}, { authorization: 'Bearer abcdefghijklmnoq' }, 403],
    ['who has the very token', { token: 'abcdefghijklmnop' }, {}, { authorization: 'Bearer abcdefghijklmnop' }, 200],
    ['with a token nobody by address', { token: 'abcdefghijklmnop' }, {}, {}, 403],
  ])('admits %s', async (_name, options, more, headers, expected) => {
    const { url } = await start(options, more);
    expect((await scrape(url, headers)).status).toBe(expected);
  });

  it.each<[string, string, () => unknown]>([
    ['a path that is none', 'prometheus.path', () => prometheus({ path: 'metrics' })],
    ['an address that is none', 'prometheus.allow[1]', () => prometheus({ allow: ['::1', 'localhost'] })],
    ['a network too narrow', 'prometheus.allow[0]', () => prometheus({ allow: ['10.0.0.0/33'] })],
    ['a short token', 'prometheus.token', () => prometheus({ token: 'short' })],
    ['a proxy that is no address', 'http.trustedProxies[0]', () => http({ port: 0, trustedProxies: ['*'] })],
    ['a path that is taken', 'http.path', () => http({ port: 0, metrics: prometheus({ path: '/mcp' }) })],
  ])('refuses %s, naming %s', (_name, option, make) => {
    expect(make).toThrow(ConfigurationError);
    expect(make).toThrow(expect.objectContaining({ option }));
  });

  it('needs a server that has metrics', async () => {
    const listener = http({ port: 0, metrics: prometheus() });
    const host = { service: testService().service } as never;
    await expect(listener.listen(host)).rejects.toThrow(expect.objectContaining({ option: 'http.metrics' }));
  });
});

describe('the metrics of a server', () => {
  it('have percentiles within a tenth, and the throughput of the last minute', async () => {
    const clock = new ManualClock(1_000_000);
    const server = new SecureMCPServer({
      service: {
        info: { name: 'x', version: '1', capabilities: {} },
        handler: async ({ params }) => {
          await clock.advance(Number(params.ms));
          return {};
        },
      },
      clock,
      allowAnonymous: true,
      listeners: [
        {
          name: 'direct',
          endpoint: undefined,
          async listen({ service }) {
            for (let ms = 1; ms <= 100; ms += 1) await service.handler({ method: 'ping', params: { ms } }, testContext());
          },
          drain: async () => {},
          close: async () => {},
        },
      ],
    });
    expect(server.metrics()).toMatchObject({ latencyMs: { p50: 0, p95: 0, p99: 0, max: 0 }, requestsPerSecond: 0 });
    await server.start();
    const { latencyMs, requestsPerSecond } = server.metrics();
    for (const [share, exact] of [
      ['p50', 50],
      ['p95', 95],
      ['p99', 99],
      ['max', 100],
    ] as const) {
      expect(latencyMs[share]).toBeGreaterThanOrEqual(exact);
      expect(latencyMs[share]).toBeLessThanOrEqual(exact * 1.1);
    }
    // 100 requests in the 5.05 seconds they took.
    expect(requestsPerSecond).toBeCloseTo(100 / 5.05, 5);
    await clock.advance(30_000);
    expect(server.metrics().requestsPerSecond).toBeCloseTo(100 / 35.05, 5);
    await clock.advance(60_000);
    expect(server.metrics().requestsPerSecond).toBe(0);
  });
});
