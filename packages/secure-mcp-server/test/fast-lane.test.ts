import { checkJsonRpc, type JsonObject, type RpcService } from '@mcp-blocks/core';
import { type ServedChannel, serveChannel } from '@mcp-blocks/core/sdk';
import { InMemoryTransport } from '@modelcontextprotocol/server';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { anyRequest } from './support/any-request.js';
import { ENVELOPE } from './support/server.js';
import { countLane, obedientService, startTwoLanes } from './support/two-lanes.js';

const RUNS = Number(process.env.FUZZ_RUNS ?? 300);

it('over HTTP it answers as the SDK does, whatever it is sent, and asks the handler the same', { timeout: 120_000 }, async () => {
  const { ask, admitted } = await startTwoLanes();
  await fc.assert(
    fc.asyncProperty(anyRequest, async (request) => {
      const { fast, sdk } = await ask(request);
      expect(fast).toEqual(sdk);
    }),
    { numRuns: RUNS },
  );
  // Or it was not the lane that was compared.
  expect(admitted()).toBeGreaterThan(0.05);
});

it('over a connection too, in whatever order and era', { timeout: 120_000 }, async () => {
  const { service, seen } = obedientService();
  const { admitted, asked } = countLane();
  await fc.assert(
    fc.asyncProperty(fc.nat(7), fc.array(anyRequest, { minLength: 1, maxLength: 6 }), async (opened, requests) => {
      const opening = { jsonrpc: '2.0', id: 0, method: 'tools/list', params: { _meta: ENVELOPE } };
      const messages = [...(opened > 0 ? [opening] : []), ...requests.flatMap(({ body }) => valid(JSON.parse(String(body))))];
      const [fast, sdk] = await Promise.all(['fast', 'sdk'].map((id) => converse(service, id, messages)));
      asked(messages.length);
      expect({ answers: fast, seen: seen.fast?.splice(0) }).toEqual({ answers: sdk, seen: seen.sdk?.splice(0) });
    }),
    { numRuns: Math.ceil(RUNS / 4) },
  );
  expect(admitted()).toBeGreaterThan(0.05);
});

/** The message, if a transport would let it pass. */
function valid(message: unknown): JsonObject[] {
  try {
    return [checkJsonRpc(message) as unknown as JsonObject];
  } catch {
    return [];
  }
}

/** Sends messages one after the other; resolves with everything that came back. */
async function converse(service: RpcService, id: string, messages: readonly JsonObject[]): Promise<unknown[]> {
  const [near, far] = InMemoryTransport.createLinkedPair();
  const received: unknown[] = [];
  const principal = { id, authentication: 'test', roles: [], scopes: [] };
  const served = serveChannel(service, far, { principal, transport: 'memory' }, { onError: () => {} });
  near.onmessage = (message) => received.push(message);
  await near.start();
  for (const [index, message] of messages.entries()) {
    const isRequest = 'method' in message && 'id' in message;
    await near.send({ ...message, ...(isRequest ? { id: index } : {}) } as never);
    await quiet(served);
  }
  await served.close();
  return received;
}

/** Resolves when nothing is in progress, and nothing more comes of what was. */
async function quiet(served: ServedChannel): Promise<void> {
  let turns = 0;
  for (let calm = 0; calm < 4 && turns < 2000; turns += 1) {
    await new Promise((resolve) => setImmediate(resolve));
    calm = served.inFlight === 0 ? calm + 1 : 0;
  }
}
