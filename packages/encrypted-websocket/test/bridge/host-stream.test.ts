import { Readable, Writable } from 'node:stream';
import { systemClock } from '@mcp-blocks/core';
import { expect, it } from 'vitest';
import { HostStream } from '../../src/bridge/host-stream.js';

it('thousands of messages that wait for a slow host wait together', async () => {
  let read = () => {};
  const lines: string[] = [];
  const output = new Writable({
    write(chunk, _encoding, done) {
      lines.push(String(chunk));
      if (lines.length === 1) read = done;
      else done();
    },
  });
  const host = new HostStream({
    input: new Readable({ read: () => {} }),
    output,
    maxMessageBytes: 1_000,
    maxJsonDepth: 8,
    clock: systemClock,
    onMessage: async () => {},
    onEnd: () => {},
    onBroken: () => {},
  });
  const listeners = output.listenerCount('close');
  const waiting = Array.from({ length: 5_000 }, (_, id) => host.write({ jsonrpc: '2.0', id, result: {} }));
  expect([output.listenerCount('drain'), output.listenerCount('close')]).toEqual([1, listeners + 1]);
  read();
  await waiting.at(-1);
  expect(lines).toHaveLength(5_000);
  expect([output.listenerCount('drain'), output.listenerCount('close')]).toEqual([0, listeners]);
  expect(host.write({ jsonrpc: '2.0', id: 'last', result: {} })).toBeUndefined();
});
