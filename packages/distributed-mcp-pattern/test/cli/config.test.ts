import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import type { JsonObject } from '@mcp-blocks/core';
import { describe, expect, it } from 'vitest';
import { runCommand } from '../../src/cli/command.js';
import { readConfigFile } from '../../src/cli/config/config-file.js';
import { ConfigFileError } from '../../src/cli/config/problems.js';
import { gatewayJsonSchema } from '../../src/cli/config/schema.js';
import { folder } from './gateway-process.js';

const SECRET = 'nobody-may-see-this';
const ENV = { TOKEN: SECRET, ORDERS_URL: 'http://127.0.0.1:1/mcp', EMPTY: '' };
const base: JsonObject = {
  listen: { port: 0 },
  authentication: { allowAnonymous: true },
  services: { orders: { urls: ['http://127.0.0.1:1/mcp'] } },
};
const variable = (name: string) => `\${${name}}`;

function write(config: JsonObject | string): string {
  const file = join(folder(), 'gateway.json');
  writeFileSync(file, typeof config === 'string' ? config : JSON.stringify(config));
  return file;
}

async function run(args: readonly string[], env: NodeJS.ProcessEnv = ENV) {
  const [stdout, stderr] = [new PassThrough(), new PassThrough()];
  const code = await runCommand(args, { stdout, stderr, env, ended: new AbortController().signal, onReload: () => {} });
  return { code, stdout: String(stdout.read() ?? ''), stderr: String(stderr.read() ?? '') };
}

/** What `--check` says: the exit code and the problems. */
async function check(config: JsonObject | string) {
  const { code, stderr } = await run(['gateway', '--config', write(config), '--check', '--log', 'json']);
  expect(stderr).not.toContain(SECRET);
  const { problems } = JSON.parse(stderr) as { problems?: string[] };
  return { code, problems };
}

const orders = (more: JsonObject): JsonObject => ({ ...base, services: { orders: { urls: ['http://127.0.0.1:1/mcp'], ...more } } });
const withAuthentication = (authentication: JsonObject): JsonObject => ({ ...base, authentication });
const key = { id: 'alice', key: { env: 'TOKEN' } };

describe('a configuration that is in order', () => {
  it.each<[string, JsonObject]>([
    ['the least', base],
    ['names its schema', { $schema: 'https://example.com/gateway.schema.json', ...base }],
    [
      'keys, JWT and Noise',
      withAuthentication({
        apiKeys: [{ ...key, roles: ['clerk'], expiresAt: '2040-01-01T00:00:00Z' }],
        jwt: [{ issuer: 'https://a.example', audience: 'gateway', algorithms: ['HS256'], key: 'x'.repeat(32) }],
        clientKeys: [{ id: 'bob', publicKey: 'A'.repeat(43) }],
        clientCertificates: true,
      }),
    ],
    [
      'an OAuth resource server',
      withAuthentication({
        oauth: {
          resource: 'https://mcp.example/mcp',
          authorizationServers: ['https://a.example'],
          jwt: {
            issuer: 'https://a.example',
            audience: ['https://mcp.example/mcp'],
            algorithms: ['ES256'],
            jwks: { url: 'https://a.example/jwks' },
          },
        },
      }),
    ],
    [
      'limits on Redis',
      {
        ...base,
        state: { provider: 'redis', endpoints: ['redis://127.0.0.1:1'] },
        rateLimits: { limits: [{ by: 'ip', concurrent: 3 }], insurance: { processes: 2 } },
      },
    ],
    [
      'all registries',
      {
        ...base,
        services: {
          a: {
            discoveryMethod: 'etcd',
            discoveryConfig: { endpoints: ['http://127.0.0.1:2379'], etcd: { user: { name: 'u', password: { env: 'TOKEN' } } } },
          },
          b: { discoveryMethod: 'consul', discoveryConfig: { endpoints: ['http://127.0.0.1:8500'], consul: { token: { env: 'TOKEN' } } } },
          c: {
            discoveryMethod: 'kubernetes',
            discoveryConfig: { kubernetes: { server: 'https://127.0.0.1:1', namespace: 'n', token: { env: 'TOKEN' } } },
          },
          d: { discoveryMethod: 'dns', discoveryConfig: { serviceName: '_mcp._tcp.example', dns: { record: 'SRV' } } },
          e: {
            discoveryMethod: 'static',
            discoveryConfig: { nodes: [{ id: 'n', url: 'ws://127.0.0.1:1/ws', weight: 2 }] },
            loadBalancingStrategy: 'p2c',
            upstreamSessions: 'own',
          },
          f: { stdio: { command: 'node', args: ['server.js'], env: { TOKEN: { env: 'TOKEN' } } } },
        },
      },
    ],
    [
      'a token for each caller',
      orders({
        credentials: {
          tokenExchange: {
            tokenUrl: 'https://a.example/token',
            clientId: 'gateway',
            clientSecret: { env: 'TOKEN' },
            subject: { key: 'k'.repeat(32), algorithm: 'HS256', issuer: 'https://gateway.example' },
          },
        },
      }),
    ],
  ])('%s', async (_what, config) => {
    expect(await check(config)).toEqual({ code: 0, problems: undefined });
  });

  it('takes values from variables and files, and keeps them out of what is printed', () => {
    const file = write({
      ...orders({ credentials: { headers: { 'x-token': { file: 'token' }, 'x-own': `a ${variable('TOKEN')} b` } } }),
      name: `$${variable('TOKEN')}`,
    });
    writeFileSync(join(file, '..', 'token'), 'from-a-file\n');
    const config = readConfigFile(file, ENV);
    expect(config.file.services.orders?.credentials?.headers).toEqual({ 'x-token': 'from-a-file', 'x-own': `a ${SECRET} b` });
    expect(config.file.name).toBe(variable('TOKEN'));
    expect(config.paths).toEqual([file, join(file, '..', 'token')]);
    expect(config.redact(`it said from-a-file and ${SECRET}`)).toBe(`it said *** and ${variable('TOKEN')}`);
  });
});

describe('a configuration that is refused', () => {
  it.each<[JsonObject | string, string | readonly string[]]>([
    ['', 'is not JSON: the text ends too early, at line 1, column 1'],
    [`{\n  "listen": ${SECRET}\n}`, 'is not JSON: unexpected character in line 2, column 14'],
    ['{"a": 1,}', 'is not JSON: unexpected character in line 1, column 9'],
    ['[]', 'expected an object, found a list'],
    [
      '{}',
      [
        'listen: expected an object, found nothing',
        'authentication: expected an object, found nothing',
        'services: expected an object, found nothing',
      ],
    ],
    [{ ...base, servcies: {} }, 'servcies: is not an option here; did you mean services?'],
    [{ ...base, listen: { prot: 1, port: 0 } }, 'listen.prot: is not an option here; did you mean port?'],
    [
      { ...base, state: { provider: 'redis', endpoints: ['redis://a'], zzzzz: 1 } },
      'state.zzzzz: is not an option here; there are provider, endpoints, sentinels',
    ],
    [{ ...base, listen: { port: '8080' } }, 'listen.port: expected a whole number, found "8080"'],
    [{ ...base, listen: { port: 70_000 } }, 'listen.port: expected at most 65535, found 70000'],
    [{ ...base, listen: { port: 0, path: 'mcp' } }, "listen.path: expected a URL path such as '/mcp', got 'mcp'"],
    [{ ...base, listen: { port: 0, host: '0.0.0.0' } }, expect.stringMatching(/^listen\.allowedHosts: /)],
    [
      { ...base, listen: { port: 0, tls: { certFile: 'none.pem', keyFile: 'none.pem' } } },
      expect.stringMatching(/^listen\.tls\.certFile: /),
    ],
    [{ ...base, listen: { port: 0, metrics: { token: 'short' } } }, 'listen.metrics.token: expected at least 16 characters'],
    [{ ...base, limits: { maxJsonDepth: 5000 } }, 'limits.maxJsonDepth: expected an integer from 1 to 1024, got 5000'],
    [{ ...base, services: {} }, 'services: expected at least one service'],
    [
      { ...base, services: { 'my orders': { urls: ['http://127.0.0.1:1/'] } } },
      'services."my orders": expected a name of letters, digits and -',
    ],
    [{ ...base, services: { orders: {} } }, 'services.orders: expected exactly one of urls, stdio and discoveryMethod'],
    [{ ...base, services: { files: { stdio: { command: 'node' }, retry: {} } } }, 'services.files.retry: has no effect beside stdio'],
    [orders({ discoveryMethod: 'dns' }), 'services.orders: expected exactly one of urls, stdio and discoveryMethod'],
    [
      orders({ loadBalancingStrategy: 'fastest' }),
      expect.stringMatching(/^services\.orders\.loadBalancingStrategy: expected "round-robin" or .*, found "fastest"$/),
    ],
    [orders({ retry: { attempts: 0 } }), 'services.orders.retry.attempts: expected 1 or more, found 0'],
    [orders({ routingRules: [{ nodes: {} }] }), 'services.orders.routingRules[0].nodes: expected version, region, capability or metadata'],
    [orders({ connection: { maxResponseBytes: 0 } }), 'services.orders.connection.maxResponseBytes: expected a whole number from 1, got 0'],
    [
      orders({ credentials: { bearer: { env: 'NOT_SET' } } }),
      'services.orders.credentials.bearer: the environment variable NOT_SET is not set',
    ],
    [
      orders({ credentials: { bearer: { env: 'EMPTY' } } }),
      'services.orders.credentials.bearer: the environment variable EMPTY is not set',
    ],
    [orders({ credentials: { bearer: { file: '/none' } } }), 'services.orders.credentials.bearer: the file /none cannot be read (ENOENT)'],
    [
      orders({ credentials: { bearer: { token: SECRET } } }),
      'services.orders.credentials.bearer: expected a non-empty text, {"env": "NAME"} or {"file": "path"}; what was found is none of them',
    ],
    [orders({ credentials: { headers: { 'a b': SECRET } } }), 'services.orders.credentials.headers.a b: is not the name of a header'],
    [orders({ credentials: { headers: { a: `${SECRET}\n` } } }), 'services.orders.credentials.headers.a: holds what no header can carry'],
    [
      orders({ credentials: { bearer: SECRET, headers: {} } }),
      'services.orders.credentials: expected exactly one of bearer, headers and tokenExchange',
    ],
    [
      orders({ urls: [`ftp://${variable('TOKEN')}/`] }),
      `services.orders.urls[0]: expected an http, https, ws or wss URL, got 'ftp://${variable('TOKEN')}/'`,
    ],
    [orders({ urls: [variable('NOT_SET')] }), 'services.orders.urls[0]: the environment variable NOT_SET is not set'],
    [orders({ urls: [variable('A B')] }), 'services.orders.urls[0]: expected the name of an environment variable, found "A B"'],
    [withAuthentication({ apiKeys: [{ id: 'a' }] }), 'authentication.apiKeys[0]: expected either key, or hash as hashApiKey makes it'],
    [
      withAuthentication({ apiKeys: [{ id: 'a', hash: SECRET }] }),
      "authentication.apiKeys[0].hash: expected 'sha256:' and 64 hexadecimal digits",
    ],
    [
      withAuthentication({ apiKeys: [{ ...key, expiresAt: 'soon' }] }),
      'authentication.apiKeys[0].expiresAt: expected a time such as 2027-01-31T00:00:00Z, found "soon"',
    ],
    [
      withAuthentication({ jwt: [{ issuer: 'a', audience: 'b', algorithms: ['none'] }] }),
      expect.stringMatching(/^authentication\.jwt\[0\]\.algorithms\[0\]: expected "HS256" or .*, found "none"$/),
    ],
    [
      withAuthentication({ jwt: [{ issuer: 'a', audience: 'b', algorithms: ['HS256'] }] }),
      'authentication.jwt[0].key: expected exactly one of key, keys and jwks',
    ],
    [
      { ...base, rateLimits: { limits: [{ by: 'moon', requests: 1, windowMs: 1 }] } },
      expect.stringMatching(/^rateLimits\.limits\[0\]\.by: expected .*, got "moon"$/),
    ],
    [
      { ...base, rateLimits: { limits: [{ by: 'ip', concurrent: 1 }], store: 'redis' } },
      'rateLimits.store: redis needs state.provider redis without sentinels, whose endpoint it uses',
    ],
    [
      { ...base, state: { provider: 'redis', endpoints: [`http://${SECRET}@x`] } },
      'state.endpoints: expected one redis:// or rediss:// URL',
    ],
    [{ ...base, state: { provider: 'sqlite', endpoints: ['a', 'b'] } }, 'state.endpoints: expected one path'],
    [
      { ...base, state: { provider: 'redis-cluster', endpoints: ['redis://a'], sentinels: ['redis://b'] } },
      'state.sentinels: has an effect only with provider redis',
    ],
    [{ ...base, openCalls: { max: 0 } }, 'openCalls.max: expected a whole number from 1, got 0'],
  ])('%j', async (config, problems) => {
    expect(await check(config)).toEqual({
      code: 2,
      problems: typeof problems === 'string' || !Array.isArray(problems) ? [problems] : problems,
    });
  });

  it('cannot be read', () => {
    expect(() => readConfigFile('/none/gateway.json', {})).toThrow(new ConfigFileError([{ path: '', message: 'cannot be read (ENOENT)' }]));
  });
});

describe('the command', () => {
  it('prints the JSON Schema that the package holds', async () => {
    const { code, stdout } = await run(['gateway', '--print-schema']);
    expect(code).toBe(0);
    const schema = JSON.parse(stdout) as JsonObject;
    expect(schema).toEqual(JSON.parse(JSON.stringify(gatewayJsonSchema())));
    expect(JSON.parse(readFileSync(new URL('../../gateway.schema.json', import.meta.url), 'utf8')), 'npm run schema makes it').toEqual(
      schema,
    );
  });

  it('makes an API key and its hash', async () => {
    const { stdout } = await run(['api-key']);
    const [, made, hash] = /^key {3}(mcpk_[\w-]{43})\nhash {2}(sha256:[\da-f]{64})\n$/.exec(stdout) ?? [];
    const { hashApiKey } = await import('@mcp-blocks/secure-mcp-server');
    expect(hashApiKey(made as string)).toBe(hash);
  });

  it.each([
    [[], 'A command is missing: gateway or api-key'],
    [['serve'], 'Unknown command: gateway or api-key'],
    [['gateway'], '--config is missing'],
    [['gateway', 'x'], 'Unexpected: x'],
    [['gateway', '--config', 'x', '--log', 'xml'], '--log: expected json or plain'],
    [['gateway', '--confg', 'x'], "Unknown option '--confg'"],
    [['api-key', '--check'], 'api-key has no options'],
  ])('says what is wrong with %j', async (args, message) => {
    const { code, stderr } = await run(args);
    expect(code).toBe(2);
    expect(stderr).toContain(`distributed-mcp-pattern: ${message}`);
  });

  it('tells how it is used', async () => {
    expect((await run(['--help'])).stdout).toContain('--config FILE');
    expect((await run(['--version'])).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  });
});
