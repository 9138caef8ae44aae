import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { isToolError } from '../src/index.js';
import { type CheckUriOptions, checkUri } from '../src/node/index.js';
import { setUp, textOf } from './fixtures.js';

const WEB = { schemes: ['https', 'http', 'ssh'] };

function refused(uri: unknown, options: CheckUriOptions = WEB): string {
  try {
    checkUri(uri as string, options);
  } catch (error) {
    if (!isToolError(error)) throw error;
    return error.message;
  }
  throw new Error(`accepted ${String(uri)}`);
}

describe('a URI of a public host is accepted', () => {
  it.each([
    ['https://example.com/a?b#c', 'https://example.com/a?b#c'],
    ['HTTPS://EXAMPLE.com:8443', 'https://example.com:8443/'],
    [' https://example.com/\n', 'https://example.com/'],
    ['https://münchen.example', 'https://xn--mnchen-3ya.example/'],
    ['https://localhost.example.com/', 'https://localhost.example.com/'],
    ['https://internal-docs.example', 'https://internal-docs.example/'],
    ['http://8.8.8.8/', 'http://8.8.8.8/'],
    ['http://172.32.0.1/', 'http://172.32.0.1/'],
    ['http://223.255.255.255/', 'http://223.255.255.255/'],
    ['http://[2606:4700::1111]/', 'http://[2606:4700::1111]/'],
    ['http://[2001:200::1]/', 'http://[2001:200::1]/'],
    ['ssh://git.example.com/repo', 'ssh://git.example.com/repo'],
  ])('%s', (given, expected) => {
    const uri = checkUri(given, WEB);
    expect(uri).toBeInstanceOf(URL);
    expect(uri.href).toBe(expected);
  });
});

describe('a URI is refused', () => {
  it.each<[string, unknown]>([
    ['that is none', 'example.com'],
    ['that is empty', ''],
    ['that is relative', '//example.com/'],
    ['that is no string', 5],
    ['that is a URL object', new URL('https://example.com')],
    ['whose host is none', 'http://exa mple.com/'],
  ])('%s', (_name, uri) => {
    expect(refused(uri)).toBe('Expected an absolute URI');
  });

  it.each([
    'ftp://example.com/',
    'javascript:alert(1)',
    'file:///etc/passwd',
    'data:text/plain,x',
    'httpss://example.com',
    'jav\nascript:x',
  ])('for its scheme: %s', (uri) => {
    expect(refused(uri)).toBe('Expected a URI with one of the schemes https, http, ssh');
  });

  it.each(['https://user:s3cret@example.com/', 'https://s3cret@example.com/', 'https://:s3cret@example.com/', 'ssh://s3cret@example.com/'])(
    'for its credentials, which are not repeated: %s',
    (uri) => {
      expect(refused(uri)).toBe('The URI must not hold credentials');
    },
  );

  it.each([
    'file:///etc/passwd',
    'file://localhost/etc/passwd',
    'urn:isbn:1',
    'mailto:a@example.com',
    'ssh:///x',
    'ssh://%00/',
    'blob:http://127.0.0.1/x',
    'ssh://%31%3a80/',
  ])('without a host: %s', (uri) => {
    expect(refused(uri, { schemes: ['file', 'urn', 'mailto', 'ssh', 'blob'] })).toBe('The URI must name a host');
  });

  it.each([
    'http://127.0.0.1/',
    'http://127.1/',
    'http://2130706433/',
    'http://0x7f000001/',
    'http://0x7f.0.0.1/',
    'http://0177.0.0.1/',
    'http://017700000001/',
    'http://127.0.0.1./',
    'http://%31%32%37.0.0.1/',
    'http://１２７．０．０．１/',
    'http:\\\\127.0.0.1\\',
    'http:127.0.0.1',
    'http://127.0.\n0.1/',
    'ssh://127.1/',
    'ssh://0x7f.1/',
    'ssh://%31%32%37.0.0.1/',
    'ssh://2130706433/',
    'http://0.0.0.0/',
    'http://0/',
    'http://10.0.0.1/',
    'http://100.64.0.1/',
    'http://169.254.169.254/latest/meta-data/',
    'http://172.16.0.1/',
    'http://172.31.255.255/',
    'http://192.0.0.1/',
    'http://192.0.2.1/',
    'http://192.88.99.1/',
    'http://192.168.1.1/',
    'http://198.19.0.1/',
    'http://198.51.100.1/',
    'http://203.0.113.1/',
    'http://224.0.0.1/',
    'http://240.0.0.1/',
    'http://255.255.255.255/',
    'http://[::]/',
    'http://[::1]/',
    'http://[0:0:0:0:0:0:0:1]/',
    'ssh://[::1]/',
    'http://[::ffff:127.0.0.1]/',
    'http://[::ffff:7f00:1]/',
    'http://[::ffff:10.0.0.1]/',
    'http://[::127.0.0.1]/',
    'http://[64:ff9b::7f00:1]/',
    'http://[2002:7f00:1::]/',
    'http://[2001:0:7f00:1::]/',
    'http://[2001:db8::1]/',
    'http://[3fff::1]/',
    'http://[fc00::1]/',
    'http://[fd12:3456::1]/',
    'http://[fe80::1]/',
    'http://[fec0::1]/',
    'http://[ff02::1]/',
    'http://localhost/',
    'http://LOCALHOST:8080/',
    'http://localhost./',
    'http://localhost../',
    'http://127.0.0.1../',
    'http://api.localhost/',
    'http://printer.local/',
    'http://metadata.google.internal/',
    'http://router.home.arpa/',
    'http://redis/',
    'ssh://LocalHost/',
    'ssh://api.LOCALHOST/',
  ])('for a host that is not public: %s', (uri) => {
    expect(refused(uri)).toBe('The host of the URI is not a public one');
    expect(checkUri(uri, { ...WEB, allowPrivate: true }).href).toBe(new URL(uri).href);
  });

  const privateIpv4 = fc.oneof(
    ...[
      ['10', null, null],
      ['127', null, null],
      ['192', '168', null],
      ['169', '254', null],
    ].map((prefix) => fc.tuple(...[...prefix, null].map((octet) => (octet === null ? fc.nat(255) : fc.constant(Number(octet)))))),
  ) as fc.Arbitrary<number[]>;
  const notation = fc.array(fc.constantFrom(8, 10, 16), { minLength: 4, maxLength: 4 });
  const written = (value: number, radix: number) => `${{ 8: '0', 10: '', 16: '0x' }[radix]}${value.toString(radix)}`;
  /** As `inet_aton` reads it: the last of fewer than four parts holds the rest. */
  function inParts(octets: readonly number[], parts: number, radixes: readonly number[]): string {
    const rest = octets.slice(parts - 1).reduce((value, octet) => value * 256 + octet, 0);
    return [...octets.slice(0, parts - 1), rest].map((value, index) => written(value, radixes[index]!)).join('.');
  }
  const scheme = fc.constantFrom('http', 'https', 'ssh');

  it('for a private IPv4 address however it is written', () => {
    fc.assert(
      fc.property(privateIpv4, fc.integer({ min: 1, max: 4 }), notation, scheme, (octets, parts, radixes, by) => {
        expect(refused(`${by}://${inParts(octets, parts, radixes)}/`)).toBe('The host of the URI is not a public one');
        expect(refused(`${by}://[::ffff:${octets.join('.')}]/`)).toBe('The host of the URI is not a public one');
      }),
    );
  });

  it('not for a public IPv4 address however it is written', () => {
    const publicIpv4 = fc.tuple(fc.integer({ min: 11, max: 99 }), fc.nat(255), fc.nat(255), fc.nat(255));
    fc.assert(
      fc.property(publicIpv4, fc.integer({ min: 1, max: 4 }), notation, scheme, (octets, parts, radixes, by) => {
        expect(checkUri(`${by}://${inParts(octets, parts, radixes)}/`, WEB).protocol).toBe(`${by}:`);
      }),
    );
  });

  it('or accepted, and nothing else, for any text', () => {
    const piece = fc.oneof(
      fc.string(),
      fc.constantFrom('http:', '//', '@', '[', ']', ':', '127.1', '%', '\\', 'localhost', 'a.example', '.'),
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 8 }), (pieces) => {
        try {
          const { username, password, hostname } = checkUri(`http://${pieces.join('')}`, WEB);
          expect([username, password]).toEqual(['', '']);
          expect(hostname).not.toMatch(/^127(?:\.\d+){3}\.*$|^\[|^[^.]*\.*$|(?:^|\.)localhost\.*$/);
        } catch (error) {
          if (!isToolError(error)) throw error;
        }
      }),
      { numRuns: 1_000 },
    );
  });
});

describe('hosts', () => {
  const hosts = ['api.example.com', 'MÜNCHEN.example', '192.168.0.7', '::1'];

  it.each([
    'https://api.example.com:8443/x',
    'https://API.example.com./',
    'https://xn--mnchen-3ya.example/',
    'http://[0:0::1]/',
    'ssh://192.168.7/',
  ])('are accepted however they are written: %s', (uri) => {
    expect(checkUri(uri, { ...WEB, hosts, allowPrivate: true }).href).toBe(new URL(uri).href);
  });

  it.each(['https://example.com/', 'https://x.api.example.com/', 'https://api.example.com.evil.example/', 'https://192.168.0.8/'])(
    'that are not named are refused: %s',
    (uri) => {
      expect(refused(uri, { ...WEB, hosts, allowPrivate: true })).toBe('The host of the URI is not among those allowed');
    },
  );

  it('that are named must be public all the same', () => {
    expect(refused('http://192.168.0.7/', { ...WEB, hosts })).toBe('The host of the URI is not a public one');
  });

  it('may be none', () => {
    expect(refused('https://example.com/', { ...WEB, hosts: [] })).toMatch(/not among/);
  });
});

describe('options that are not as documented are a mistake of the server', () => {
  it.each<[string, unknown]>([
    ['schemes', { schemes: [] }],
    ['schemes', { schemes: 'https' }],
    ['schemes[1]', { schemes: ['https', 'http:'] }],
    ['schemes[0]', { schemes: ['HTTPS'] }],
    ['schemes[0]', { schemes: [5] }],
    ...['', 'example.com:443', 'https://example.com', 'example.com/x', 'a@example.com', 'exa mple.com', '[::1]:80', 'x\\y', 5].map(
      (host) => ['hosts[0]', { schemes: ['https'], hosts: [host] }] as [string, unknown],
    ),
  ])('%s: %j', (option, options) => {
    expect(() => checkUri('https://example.com', options as CheckUriOptions)).toThrow(expect.objectContaining({ option }));
  });
});

it('a refusal in a schema reaches the model as a result', async () => {
  const { registry, ask, errors } = setUp();
  const target = z.string().overwrite((value) => checkUri(value, { schemes: ['https'] }).href);
  registry.tool('fetch', { input: z.object({ target }) }, (args) => args.target);
  const call = (uri: string) => ask('tools/call', { name: 'fetch', arguments: { target: uri } });
  expect(textOf(await call('https://example.com'))).toBe('https://example.com/');
  const answer = await call('https://169.254.169.254/');
  expect(answer.isError).toBe(true);
  expect(textOf(answer)).toBe('The host of the URI is not a public one');
  expect(errors).toEqual([]);
});
