import { describe, expect, it } from 'vitest';
import { isLoopbackAddress, RequestGuard } from '../src/node/index.js';

describe('RequestGuard on a loopback address', () => {
  const guard = new RequestGuard({ bindAddress: '127.0.0.1' });

  it.each([
    { host: 'localhost:8080' },
    { host: '127.0.0.1' },
    { host: '[::1]:3000' },
    { host: 'localhost:8080', origin: 'http://localhost:5173' },
  ])('lets $host $origin pass', (headers) => {
    expect(() => guard.check(headers)).not.toThrow();
  });

  it.each([
    [{ host: 'evil.example' }, 'Host'],
    [{ host: 'localhost.evil.example' }, 'Host'],
    [{ host: 'evil.example@localhost' }, 'Host'],
    [{ host: 'localhost/path' }, 'Host'],
    [{ host: 'localhost?x' }, 'Host'],
    [{ host: 'localhost\\x' }, 'Host'],
    [{ host: 'localhost#x' }, 'Host'],
    [{ host: '' }, 'Host'],
    [{}, 'Host'],
    [{ host: 'localhost', origin: 'https://evil.example' }, 'Origin'],
    [{ host: 'localhost', origin: 'null' }, 'Origin'],
    [{ host: 'localhost', origin: 'http://localhost.evil.example' }, 'Origin'],
  ])('refuses %j by its %s', (headers, name) => {
    expect(() => guard.check(headers)).toThrow(expect.objectContaining({ code: 'forbidden', message: expect.stringContaining(name) }));
  });
});

it('must be told its names on any other address', () => {
  expect(() => new RequestGuard({ bindAddress: '0.0.0.0' })).toThrow(expect.objectContaining({ option: 'allowedHosts' }));
  const guard = new RequestGuard({ bindAddress: '0.0.0.0', allowedHosts: ['mcp.example.com'] });
  expect(() => guard.check({ host: 'mcp.example.com' })).not.toThrow();
  expect(() => guard.check({ host: 'localhost' })).toThrow();
  expect(() => guard.check({ host: 'mcp.example.com', origin: 'http://localhost' })).toThrow();
});

it.each([
  ['127.0.0.1', true],
  ['127.8.8.8', true],
  ['::1', true],
  ['::ffff:127.0.0.1', true],
  ['localhost', true],
  ['0.0.0.0', false],
  ['::', false],
  ['10.0.0.1', false],
  ['127.evil.example', false],
])('%s is loopback: %s', (address, expected) => {
  expect(isLoopbackAddress(address)).toBe(expected);
});
