import { describe, expect, it } from 'vitest';
import { HttpResponseReader } from '../src/http-response-reader.ts';

const SIZED = 'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n{"text":"ü"}';
const CHUNKED =
  'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n5\r\ndata:\r\nB\r\n {"a":"é"}\r\n0\r\n\r\n';

describe.each([
  ['of known length', SIZED, 'application/json', '{"text":"ü"}'],
  ['in chunks', CHUNKED, 'text/event-stream', 'data: {"a":"é"}'],
])('a body %s', (_, text, contentType, body) => {
  it('is the same wherever it is cut in two', () => {
    const bytes = Buffer.from(text);
    for (let cut = 1; cut < bytes.length; cut += 1) {
      const reader = new HttpResponseReader();
      expect(reader.feed(bytes.subarray(0, cut))).toBeUndefined();
      expect(reader.feed(bytes.subarray(cut))).toEqual({ status: 200, contentType, body, lastOnConnection: false });
    }
  });
});

it('reads one response after the other', () => {
  const reader = new HttpResponseReader();
  expect(reader.feed(Buffer.from(SIZED))?.body).toBe('{"text":"ü"}');
  expect(reader.feed(Buffer.from('HTTP/1.1 503 No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n'))).toEqual({
    status: 503,
    contentType: '',
    body: '',
    lastOnConnection: true,
  });
});

it.each([
  ['bytes after the end', `${SIZED}HTTP/1.1 200 OK`],
  ['no length and no chunks', 'HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\n'],
  ['a chunk of another size than it says', 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n'],
  ['a chunk without a size', 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n'],
  ['another protocol', 'SSH-2.0-OpenSSH\r\n\r\n'],
])('refuses %s', (_, text) => {
  expect(() => new HttpResponseReader().feed(Buffer.from(text))).toThrow();
});
