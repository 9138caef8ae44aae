import { ConfigurationError } from '@mcp-blocks/core';
import { expect, it, vi } from 'vitest';
import { resolveConfig } from '../src/config.js';
import { CacheStore, type MCPClientConfig, MCPClientPattern } from '../src/index.js';

it('has the defaults it documents', () => {
  expect(resolveConfig({ serverUrl: 'https://mcp.example.com' })).toMatchObject({
    enableWebSocket: true,
    enableHttpFallback: true,
    enableReconnection: true,
    enableCaching: true,
    reconnectOptions: { maxAttempts: 10, initialDelay: 1000, maxDelay: 30_000, backoffMultiplier: 1.5 },
    cacheOptions: { maxSize: 1000, maxBytes: 33_554_432, defaultTTL: 300_000, staleIfErrorMs: 0 },
    maxConcurrentRequests: 10,
    queueLimit: 10_000,
    priorityAgeingMs: 5000,
    retryOptions: { maxAttempts: 2, initialDelayMs: 100, maxDelayMs: 5000, budgetRatio: 0.2, minPerSecond: 3 },
    requestTimeout: 30_000,
    connectTimeout: 10_000,
    healthCheckInterval: 30_000,
    healthCheckTimeoutMs: 5000,
    versionNegotiation: 'auto',
  });
});

it('keeps the other defaults of a group when one is given', () => {
  const { reconnectOptions } = resolveConfig({ serverUrl: 'https://mcp.example.com', reconnectOptions: { maxAttempts: 2 } });
  expect(reconnectOptions).toEqual({ maxAttempts: 2, initialDelay: 1000, maxDelay: 30_000, backoffMultiplier: 1.5 });
});

it.each([
  ['https://mcp.example.com', undefined, 'https://mcp.example.com/mcp', 'wss://mcp.example.com/ws'],
  ['https://mcp.example.com/', undefined, 'https://mcp.example.com/mcp', 'wss://mcp.example.com/ws'],
  ['https://mcp.example.com/mcp', undefined, 'https://mcp.example.com/mcp', 'wss://mcp.example.com/ws'],
  ['https://mcp.example.com:8443/a/b?x=1', undefined, 'https://mcp.example.com:8443/a/b?x=1', 'wss://mcp.example.com:8443/ws'],
  ['http://127.0.0.1:8080', undefined, 'http://127.0.0.1:8080/mcp', 'ws://127.0.0.1:8080/ws'],
  ['http://[::1]:8080', undefined, 'http://[::1]:8080/mcp', 'ws://[::1]:8080/ws'],
  ['https://mcp.example.com', 'wss://ws.example.com/socket', 'https://mcp.example.com/mcp', 'wss://ws.example.com/socket'],
])('finds the endpoints of %s', (serverUrl, webSocketUrl, http, webSocket) => {
  const resolved = resolveConfig({ serverUrl, ...(webSocketUrl === undefined ? {} : { webSocketUrl }) });
  expect([resolved.httpUrl.href, resolved.webSocketUrl.href]).toEqual([http, webSocket]);
});

it.each<[string, object]>([
  ['serverUrl', { serverUrl: 'mcp.example.com' }],
  ['serverUrl', { serverUrl: 'ws://127.0.0.1/ws' }],
  ['serverUrl', { serverUrl: 'https://user:secret@mcp.example.com' }],
  ['serverUrl', { serverUrl: 'http://mcp.example.com' }],
  ['serverUrl', { serverUrl: undefined }],
  ['webSocketUrl', { webSocketUrl: 'https://mcp.example.com/ws' }],
  ['webSocketUrl', { webSocketUrl: 'ws://mcp.example.com/ws' }],
  ['enableHttpFallback', { enableWebSocket: false, enableHttpFallback: false }],
  ['enableCaching', { enableCaching: 'yes' }],
  ['reconnectOptions.maxAttempts', { reconnectOptions: { maxAttempts: -1 } }],
  ['reconnectOptions.backoffMultiplier', { reconnectOptions: { backoffMultiplier: 0.5 } }],
  ['reconnectOptions.maxDelay', { reconnectOptions: { maxDelay: 10 } }],
  ['reconnectOptions.maxRetries', { reconnectOptions: { maxRetries: 1 } }],
  ['cacheOptions.maxSize', { cacheOptions: { maxSize: 0 } }],
  ['cacheOptions.defaultTTL', { cacheOptions: { defaultTTL: 1.5 } }],
  ['cacheOptions.maxBytes', { cacheOptions: { maxBytes: 0 } }],
  ['cacheOptions.maxBytes', { cacheOptions: { store: new CacheStore(), maxBytes: 10 } }],
  ['cacheOptions.maxSize', { cacheOptions: { store: new CacheStore(), maxSize: 10 } }],
  ['cacheOptions.store', { cacheOptions: { store: new Map() } }],
  ['cacheOptions.staleIfErrorMs', { cacheOptions: { staleIfErrorMs: -1 } }],
  ['cacheOptions.partition', { cacheOptions: { partition: 'alice' } }],
  ['retryOptions.maxAttempts', { retryOptions: { maxAttempts: 1.5 } }],
  ['retryOptions.budgetRatio', { retryOptions: { budgetRatio: 1.1 } }],
  ['retryOptions.maxDelayMs', { retryOptions: { maxDelayMs: 10 } }],
  ['priorityAgeingMs', { priorityAgeingMs: 0 }],
  ['healthCheckTimeoutMs', { healthCheckTimeoutMs: 0 }],
  ['degradedLatencyMs', { degradedLatencyMs: -1 }],
  ['maxConcurrentRequests', { maxConcurrentRequests: 0 }],
  ['queueLimit', { queueLimit: -1 }],
  ['requestTimeout', { requestTimeout: 2 ** 31 }],
  ['healthCheckInterval', { healthCheckInterval: -5 }],
  ['credentials.token', { credentials: { token: '' } }],
  ['versionNegotiation', { versionNegotiation: 'new' }],
  ['enableWebsocket', { enableWebsocket: true }],
  ['inputHandlers.roots', { inputHandlers: { roots: [] } }],
  ['inputHandlers.sampling', { inputHandlers: { sampling: 'gpt' } }],
  ['inputHandlers.tasks', { inputHandlers: { tasks: () => {} } }],
  ['inputHandlers.elicitation', { inputHandlers: { elicitation: () => {} } }],
  ['inputHandlers.elicitation', { inputHandlers: { elicitation: {} } }],
  ['inputHandlers.elicitation.form', { inputHandlers: { elicitation: { form: true } } }],
  ['capabilities.elicitation.form', { capabilities: { elicitation: {} } }],
  ['capabilities.elicitation.url', { capabilities: { elicitation: { url: {} } }, inputHandlers: { elicitation: { form: () => {} } } }],
  ['capabilities.sampling', { capabilities: { sampling: {} }, inputHandlers: { roots: () => {} } }],
  ['capabilities.roots', { capabilities: { roots: { listChanged: true } } }],
])('refuses a bad %s', (option, config) => {
  const build = () => new MCPClientPattern({ serverUrl: 'https://mcp.example.com', ...config } as MCPClientConfig);
  expect(build).toThrow(ConfigurationError);
  expect(build).toThrow(expect.objectContaining({ option }));
  expect(build).not.toThrow(/secret/);
});

it.each<[Pick<MCPClientConfig, 'inputHandlers' | 'capabilities'>, object]>([
  [{}, {}],
  [{ inputHandlers: {} }, {}],
  [{ inputHandlers: { elicitation: { form: vi.fn() } } }, { elicitation: { form: {} } }],
  [{ inputHandlers: { elicitation: { url: vi.fn() } } }, { elicitation: { url: {} } }],
  [{ inputHandlers: { elicitation: { form: vi.fn(), url: vi.fn() } } }, { elicitation: { form: {}, url: {} } }],
  [{ inputHandlers: { sampling: vi.fn(), roots: vi.fn() } }, { sampling: {}, roots: {} }],
  [
    {
      inputHandlers: { elicitation: { form: vi.fn() }, sampling: vi.fn() },
      capabilities: { elicitation: { form: { applyDefaults: true } }, sampling: { tools: {} }, extensions: { 'com.example/x': {} } },
    },
    { elicitation: { form: { applyDefaults: true } }, sampling: { tools: {} }, extensions: { 'com.example/x': {} } },
  ],
])('declares the capabilities of %j', (config, capabilities) => {
  expect(resolveConfig({ serverUrl: 'https://mcp.example.com', ...config }).capabilities).toEqual(capabilities);
});

it('leaves capabilities to configureClient', () => {
  const config = { serverUrl: 'https://mcp.example.com', capabilities: { elicitation: {} }, configureClient: vi.fn() };
  expect(resolveConfig(config).capabilities).toEqual({ elicitation: {} });
});

it('names the bad value, but never a token', () => {
  const build = (config: object) => () => resolveConfig({ serverUrl: 'https://mcp.example.com', ...config } as MCPClientConfig);
  expect(build({ queueLimit: -1 })).toThrow(/got -1$/);
  expect(build({ credentials: { token: 42 } })).not.toThrow(/42/);
});

it('speaks plain http to other hosts only when told to', () => {
  expect(resolveConfig({ serverUrl: 'http://gateway:8080', allowInsecure: true }).webSocketUrl.href).toBe('ws://gateway:8080/ws');
});
