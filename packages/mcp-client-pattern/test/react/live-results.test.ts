import { RpcError } from '@mcp-blocks/core';
import { describe, expect, it } from 'vitest';
import { useResource, useTools } from '../../src/react/index.js';
import { type Bench, benches, settle } from '../support.js';
import { during, show, within } from './page.js';

const bench = benches();

describe.each(['auto', 'legacy'] as const)('what is read and read again, version negotiation %s', (versionNegotiation) => {
  let refreshed = () => {};
  const resource = (made: Bench) =>
    show(
      within(made, () => {
        const { status, result, error, refresh } = useResource('test://a');
        refreshed = refresh;
        return `${status} ${result === undefined ? '-' : (result.contents[0] as { text: string }).text} ${error?.message ?? '-'}`;
      }),
    );

  it('is read once, though StrictMode mounts twice', async () => {
    const made = bench({ versionNegotiation });
    const page = await resource(made);
    await during(settle);
    expect([page.text(), made.service.count('resources/read')]).toEqual(['success read 1 -', 1]);
  });

  it('is read again when asked to, past the cache', async () => {
    const made = bench({ versionNegotiation });
    made.service.ttlMs = 60_000;
    const page = await resource(made);
    await during(settle);
    await during(async () => {
      refreshed();
      await settle();
    });
    expect(page.text()).toBe('success read 2 -');
  });

  it('is read again when the server says so', async () => {
    const made = bench({ versionNegotiation });
    const page = await resource(made);
    await during(settle);
    await during(async () => {
      made.service.events.publish({ kind: 'resources_list_changed' });
      await settle();
    });
    expect(page.text()).toBe('success read 2 -');
  });

  it('is subscribed to while it is shown', async () => {
    const made = bench({ versionNegotiation });
    const page = await resource(made);
    await during(settle);
    const updates = ['test://a', 'test://other', 'test://a'];
    for (const uri of updates) {
      await during(async () => {
        made.service.events.publish({ kind: 'resource_updated', uri });
        await settle();
      });
    }
    expect([page.text(), made.service.count('resources/read')]).toEqual(['success read 3 -', 3]);
    const heard: unknown[] = [];
    made.client.on('notification', ({ method }) => heard.push(method));
    await page.hide();
    await settle();
    made.service.events.publish({ kind: 'resource_updated', uri: 'test://a' });
    await settle();
    expect([heard, made.service.count('resources/read')]).toEqual([[], 3]);
  });

  it('is subscribed to over the next connection, too', async () => {
    const made = bench({ versionNegotiation });
    const page = await resource(made);
    await during(settle);
    await during(async () => {
      await made.clock.advance(1_000);
      await made.webSocket.cut(true);
      await settle();
    });
    expect(page.text()).toBe('success read 2 -');
    await during(async () => {
      made.service.events.publish({ kind: 'resource_updated', uri: 'test://a' });
      await settle();
    });
    expect(page.text()).toBe('success read 3 -');
  });

  it('is read where the server has no subscriptions', async () => {
    const made = bench({ versionNegotiation });
    Object.assign(made.service.info.capabilities, { resources: {} });
    const page = await resource(made);
    await during(settle);
    expect(page.text()).toBe('success read 1 -');
    await during(async () => {
      await made.clock.advance(1_000);
      await made.webSocket.cut();
      await settle();
    });
    expect(page.text()).toBe('success read 2 -');
  });

  it('is read again after the connection was lost', async () => {
    const made = bench({ versionNegotiation });
    const page = await resource(made);
    await during(settle);
    await during(async () => {
      await made.clock.advance(1_000);
      await made.webSocket.cut();
      await settle();
    });
    expect(page.text()).toBe('success read 2 -');
  });

  it('is read once more, not twice, when it changes twice while it is read', async () => {
    const made = bench({ versionNegotiation });
    await made.client.connect();
    made.service.hold.add('resources/read');
    const page = await resource(made);
    await during(async () => {
      await settle();
      for (let n = 0; n < 2; n += 1) made.service.events.publish({ kind: 'resources_list_changed' });
      await settle();
      made.service.release('resources/read');
      await settle();
    });
    expect([page.text(), made.service.count('resources/read')]).toEqual(['success read 2 -', 2]);
  });

  it('keeps what it has when it cannot be read any longer', async () => {
    const made = bench({ versionNegotiation, retryOptions: { maxAttempts: 0 } });
    const page = await resource(made);
    await during(settle);
    made.service.next = new RpcError('forbidden', 'Not any more');
    await during(async () => {
      made.service.events.publish({ kind: 'resources_list_changed' });
      await settle();
    });
    expect(page.text()).toBe('error read 1 Not any more');
  });

  it('is not waited for when nobody shows it any longer', async () => {
    const made = bench({ versionNegotiation });
    made.service.hold.add('resources/read');
    const page = await resource(made);
    await during(settle);
    await page.hide();
    await settle();
    expect(made.client.getMetrics().activeRequests).toBe(0);
    made.service.events.publish({ kind: 'resources_list_changed' });
    await settle();
    expect(made.service.count('resources/read')).toBe(1);
  });

  it('may be the list of tools', async () => {
    const made = bench({ versionNegotiation });
    const page = await show(
      within(made, () => {
        const { status, result } = useTools();
        return `${status} ${result?.map(({ name }) => name).join() ?? '-'} ${made.service.count('tools/list')}`;
      }),
    );
    await during(settle);
    expect(page.text()).toBe('success pay,look,put 1');
    await during(async () => {
      made.service.events.publish({ kind: 'tools_list_changed' });
      await settle();
    });
    expect(made.service.count('tools/list')).toBe(2);
  });
});
