import { describe, expect, it } from 'vitest';
import { MemoryStateStore } from '../src/index.js';
import { StateEventStore } from '../src/sdk/index.js';
import { ManualClock } from '../src/testing/index.js';

const ttlMs = 60_000;
const message = { jsonrpc: '2.0', method: 'notifications/message', params: {} } as const;

function events(options: { maxEvents?: number } = {}) {
  const clock = new ManualClock(0);
  const store = new MemoryStateStore({ clock });
  const opened = () => new StateEventStore(store, { key: 'session', ttlMs, clock, ...options });
  const replayed = async (after: string) => {
    const ids: string[] = [];
    await opened().replayEventsAfter(after, { send: async (id) => void ids.push(id) });
    return ids;
  };
  return { clock, store, opened, replayed };
}

describe('the events of a session', () => {
  it('leave nothing behind when they have ended, also without a word from whoever stored them', async () => {
    const { clock, store, opened } = events();
    for (let n = 0; n < 3; n += 1) await opened().storeEvent('s', message);
    await clock.advance(ttlMs + 1);
    for (const key of ['session:count', 'session:event:1', 'session:event:3']) expect(await store.get(key)).toBeUndefined();
  });

  it('have one numbering as long as some come', async () => {
    const { clock, opened, replayed } = events();
    const own = opened();
    for (let n = 1; n <= 10; n += 1) {
      expect(await own.storeEvent('s', message)).toBe(String(n));
      await clock.advance(ttlMs / 3);
    }
    expect(await replayed('9')).toEqual(['10']);
    await expect(replayed('1')).rejects.toThrow('no longer held');
  });

  it('have one numbering as long as it is kept, though none come', async () => {
    const { clock, opened } = events();
    await opened().storeEvent('s', message);
    for (let n = 0; n < 5; n += 1) {
      await clock.advance(ttlMs / 2);
      await opened().keep();
    }
    expect(await opened().storeEvent('s', message)).toBe('2');
    await opened().clear();
    await opened().keep();
    expect(await opened().storeEvent('s', message)).toBe('1');
  });
});
