import { type JsonObject, RpcError, type RpcService } from '@mcp-blocks/core';
import { ManualClock, settle, testContext, testPrincipal } from '@mcp-blocks/core/testing';
import { describe, expect, it } from 'vitest';
import { createGateway, type GatewayOptions, type GatewayProblem, type GatewaySource, type RouteOptions } from '../src/index.js';

interface Offer {
  readonly tools?: readonly JsonObject[];
  readonly prompts?: readonly JsonObject[];
  readonly resources?: readonly JsonObject[];
  readonly templates?: readonly JsonObject[];
  /** Restricts lists to these principals. */
  readonly only?: string;
  readonly pageSize?: number;
  readonly listFields?: JsonObject;
}

/** A service in memory that records what reaches it. */
class FakeService implements GatewaySource {
  readonly requests: { method: string; params: JsonObject; principal: string | undefined }[] = [];
  down = false;
  hangs = false;
  offer: Offer;

  constructor(offer: Offer) {
    this.offer = offer;
  }

  async route(method: string, params: JsonObject, { context, signal }: RouteOptions): Promise<JsonObject> {
    this.requests.push({ method, params, principal: context?.principal.id });
    if (this.down) throw new RpcError('unavailable', 'down');
    if (this.hangs) {
      const abort = signal ?? context?.signal;
      return new Promise((_resolve, reject) => abort?.addEventListener('abort', () => reject(new RpcError('cancelled', 'x'))));
    }
    const { tools, prompts, resources, templates, only } = this.offer;
    const visible = only === undefined || context?.principal.id === only;
    switch (method) {
      case 'tools/list':
        return this.#page('tools', tools, visible, params);
      case 'prompts/list':
        return this.#page('prompts', prompts, visible, params);
      case 'resources/list':
        return this.#page('resources', resources, visible, params);
      case 'resources/templates/list':
        return this.#page('resourceTemplates', templates, visible, params);
      case 'resources/read': {
        if (String(params.uri).startsWith('secret:')) throw new RpcError('forbidden', 'No');
        if (!String(params.uri).startsWith('own:')) throw new RpcError('invalid_params', 'Resource not found', { jsonRpcCode: -32602 });
        return { contents: [{ uri: params.uri, text: 'found' }] };
      }
      default:
        return { served: params.name ?? params.ref ?? null };
    }
  }

  count(method: string): number {
    return this.requests.filter((request) => request.method === method).length;
  }

  #page(member: string, items: readonly JsonObject[] | undefined, visible: boolean, { cursor }: JsonObject): JsonObject {
    if (items === undefined) throw new RpcError('method_not_found', 'Method not found');
    const all = visible ? items : [];
    const from = Number(cursor ?? 0);
    const size = this.offer.pageSize ?? 100;
    return {
      [member]: all.slice(from, from + size),
      ...this.offer.listFields,
      ...(from + size < all.length ? { nextCursor: String(from + size) } : {}),
    };
  }
}

const tool = (name: string, more: JsonObject = {}) => ({ name, inputSchema: { type: 'object' }, ...more });

function setUp(services: Record<string, FakeService>, options: Partial<GatewayOptions> = {}) {
  const problems: GatewayProblem[] = [];
  const clock = new ManualClock();
  const gateway = createGateway({
    info: { name: 'gateway', version: '1.0.0' },
    services,
    clock,
    onProblem: (problem) => problems.push(problem),
    ...options,
  });
  return { gateway, problems, clock };
}

const ask = (gateway: RpcService, method: string, params: JsonObject = {}, principalId = 'alice') =>
  gateway.handler({ method, params }, testContext({ principal: testPrincipal({ id: principalId }) }));
const names = (result: JsonObject, member = 'tools', key = 'name') => (result[member] as JsonObject[]).map((item) => item[key]);
const three = () => ({
  weather: new FakeService({ tools: [tool('forecast'), tool('alerts')], prompts: [{ name: 'pack' }], pageSize: 1 }),
  database: new FakeService({ tools: [tool('query')], resources: [{ uri: 'db://tables', name: 'tables' }] }),
  files: new FakeService({
    tools: [tool('read_file', { inputSchema: { type: 'object', properties: { path: { type: 'string', 'x-mcp-header': 'Path' } } } })],
    templates: [{ uriTemplate: 'own:{path}', name: 'file' }],
  }),
});

describe('lists', () => {
  it('are merged in the order of the services, every page of each', async () => {
    const { gateway, problems } = setUp(three());
    expect(names(await ask(gateway, 'tools/list'))).toEqual(['forecast', 'alerts', 'query', 'read_file']);
    expect(names(await ask(gateway, 'prompts/list'), 'prompts')).toEqual(['pack']);
    expect(names(await ask(gateway, 'resources/list'), 'resources', 'uri')).toEqual(['db://tables']);
    expect(names(await ask(gateway, 'resources/templates/list'), 'resourceTemplates', 'uriTemplate')).toEqual(['own:{path}']);
    expect(problems).toEqual([]);
  });

  it.each([
    ['tools/list', { tools: [{ name: 'bad' }] }],
    ['tools/list', { tools: [{ name: 'bad', inputSchema: 'none' }] }],
    ['tools/list', { tools: [{ name: 'bad', inputSchema: { type: 'string' } }] }],
    ['tools/list', { tools: [{ name: 'bad', inputSchema: { type: 'object' }, description: 5 }] }],
    ['prompts/list', { prompts: [{ name: 'bad', arguments: 'all' }] }],
    ['resources/list', { resources: [{ uri: 'bad' }] }],
    ['resources/templates/list', { templates: [{ uriTemplate: 'bad', name: 5 }] }],
  ])('%s leaves out what would make it unreadable, and says so: %j', async (method, offer) => {
    const { gateway, problems } = setUp({ ...three(), hostile: new FakeService({ ...offer, listFields: { ttlMs: -5.5 } } as Offer) });
    const result = await ask(gateway, method);
    expect(JSON.stringify(result)).not.toContain('bad');
    expect(problems).toEqual([{ kind: 'malformed', method, service: 'hostile', name: 'bad' }]);
    expect(result.ttlMs).toBe(0);
  });

  it('show each principal what the services show that principal, and are never shared', async () => {
    const services = {
      open: new FakeService({ tools: [tool('public')] }),
      admin: new FakeService({ tools: [tool('drop')], only: 'root' }),
    };
    const { gateway } = setUp(services);
    expect(names(await ask(gateway, 'tools/list', {}, 'alice'))).toEqual(['public']);
    expect(names(await ask(gateway, 'tools/list', {}, 'root'))).toEqual(['public', 'drop']);
    expect(names(await ask(gateway, 'tools/list', {}, 'alice'))).toEqual(['public']);
  });

  it('are not shared by the same principal with other rights', async () => {
    const services = { a: new FakeService({ tools: [tool('x')] }) };
    const { gateway } = setUp(services);
    const as = (roles: string[]) =>
      gateway.handler({ method: 'tools/list', params: {} }, testContext({ principal: testPrincipal({ roles }) }));
    await as(['viewer']);
    await as(['admin']);
    expect(services.a.count('tools/list')).toBe(2);
  });

  it('are asked for once while fresh, and once for callers at the same time', async () => {
    const services = { a: new FakeService({ tools: [tool('x')] }) };
    const { gateway, clock } = setUp(services, { listTtlMs: 1_000 });
    await Promise.all([ask(gateway, 'tools/list'), ask(gateway, 'tools/list')]);
    await clock.advance(999);
    await ask(gateway, 'tools/list');
    expect(services.a.count('tools/list')).toBe(1);
    await clock.advance(1);
    await ask(gateway, 'tools/list');
    expect(services.a.count('tools/list')).toBe(2);
  });

  it('go without a service that is down or too slow, and say so', async () => {
    const services = three();
    const { gateway, problems, clock } = setUp(services, { listTimeoutMs: 500 });
    services.weather.down = true;
    services.files.hangs = true;
    const list = ask(gateway, 'tools/list');
    await clock.advance(500);
    expect(names(await list)).toEqual(['query']);
    expect(problems).toMatchObject([
      { kind: 'unreachable', service: 'weather', method: 'tools/list' },
      { kind: 'unreachable', service: 'files', method: 'tools/list', error: { message: 'no answer within 500 ms' } },
    ]);
    services.weather.down = false;
    services.files.hangs = false;
    expect(names(await ask(gateway, 'tools/list'))).toHaveLength(4);
  });

  it('fail only when no service answers', async () => {
    const services = { a: new FakeService({ tools: [] }) };
    services.a.down = true;
    await expect(ask(setUp(services).gateway, 'tools/list')).rejects.toMatchObject({ code: 'unavailable' });
  });

  it('end when a service pages without end', async () => {
    const endless: GatewaySource = { route: async () => ({ tools: [tool('x')], nextCursor: 'again' }) };
    const { gateway, problems } = setUp({ endless: endless as FakeService, fine: new FakeService({ tools: [tool('y')] }) });
    expect(names(await ask(gateway, 'tools/list'))).toEqual(['y']);
    expect(problems).toMatchObject([{ kind: 'unreachable', service: 'endless' }]);
  });

  it('do not end for others when the caller that began them leaves', async () => {
    const services = { a: new FakeService({ tools: [tool('x')] }) };
    services.a.hangs = true;
    const { gateway, clock } = setUp(services, { listTimeoutMs: 500 });
    const abort = new AbortController();
    const first = gateway.handler({ method: 'tools/list', params: {} }, testContext({ signal: abort.signal })).catch(() => 'failed');
    await settle();
    abort.abort();
    await settle();
    let ended = false;
    void first.then(() => (ended = true));
    await settle();
    expect(ended).toBe(false);
    await clock.advance(500);
    expect(await first).toBe('failed');
  });

  it.each([
    [
      'the shortest life and private',
      [
        { ttlMs: 500, cacheScope: 'public' },
        { ttlMs: 90, cacheScope: 'private' },
      ],
      { ttlMs: 90, cacheScope: 'private' },
    ],
    [
      'public when all are',
      [
        { ttlMs: 500, cacheScope: 'public' },
        { ttlMs: 90, cacheScope: 'public' },
      ],
      { ttlMs: 90, cacheScope: 'public' },
    ],
    ['no life where one says nothing', [{ ttlMs: 500, cacheScope: 'public' }, {}], { ttlMs: 0, cacheScope: 'private' }],
  ])('are cacheable by clients with %s', async (_what, [a, b], expected) => {
    const { gateway } = setUp({ a: new FakeService({ tools: [], listFields: a! }), b: new FakeService({ tools: [], listFields: b! }) });
    expect(await ask(gateway, 'tools/list')).toMatchObject(expected);
  });

  it('have no cursors', async () => {
    await expect(ask(setUp(three()).gateway, 'tools/list', { cursor: 'x' })).rejects.toMatchObject({ code: 'invalid_params' });
  });
});

describe('calls', () => {
  it('go to the owner of the name, with the principal of the caller', async () => {
    const services = three();
    const { gateway } = setUp(services);
    expect(await ask(gateway, 'tools/call', { name: 'query', arguments: { sql: 'x' } }, 'bob')).toEqual({ served: 'query' });
    expect(services.database.requests.at(-1)).toEqual({
      method: 'tools/call',
      params: { name: 'query', arguments: { sql: 'x' } },
      principal: 'bob',
    });
    expect(await ask(gateway, 'prompts/get', { name: 'pack' })).toEqual({ served: 'pack' });
    expect(services.weather.count('prompts/get')).toBe(1);
    for (const { requests } of [services.weather, services.files])
      expect(requests.some(({ method }) => method === 'tools/call')).toBe(false);
  });

  it('list once and then find the owner by memory', async () => {
    const services = three();
    const { gateway, clock } = setUp(services, { listTtlMs: 0 });
    for (let i = 0; i < 5; i += 1) {
      await ask(gateway, 'tools/call', { name: 'query' });
      await clock.advance(1_000);
    }
    expect(services.database.count('tools/list')).toBe(1);
  });

  it.each([
    ['tools/call', { name: 'nothing' }, 'Unknown tool: nothing'],
    ['prompts/get', { name: 'nothing' }, 'Unknown prompt: nothing'],
    ['tools/call', { name: 7 }, 'name: expected a string'],
    ['completion/complete', { ref: { type: 'ref/prompt', name: 'nothing' } }, 'Unknown prompt: nothing'],
    ['completion/complete', { ref: { type: 'ref/resource', uri: 'no:{x}' } }, 'Unknown resource template: no:{x}'],
    ['completion/complete', {}, 'ref: expected a ref/prompt with name or a ref/resource with uri'],
    ['resources/read', {}, 'uri: expected a string'],
  ])('%s %j is refused: %s', async (method, params, message) => {
    await expect(ask(setUp(three()).gateway, method, params)).rejects.toMatchObject({ code: 'invalid_params', message });
  });

  it('of a method the gateway does not have are refused', async () => {
    await expect(ask(setUp(three()).gateway, 'logging/setLevel')).rejects.toMatchObject({ code: 'method_not_found' });
    await expect(ask(setUp(three()).gateway, 'tasks/get')).rejects.toMatchObject({ code: 'method_not_found' });
  });

  it('to be told of changes are refused for a service that does not tell', async () => {
    const subscribe = ask(setUp(three()).gateway, 'resources/subscribe', { uri: 'db://tables' });
    await expect(subscribe).rejects.toMatchObject({ code: 'method_not_found' });
  });

  it('to other services are not harmed by a dead one', async () => {
    const services = three();
    services.weather.down = true;
    const { gateway } = setUp(services);
    expect(await ask(gateway, 'tools/call', { name: 'query' })).toEqual({ served: 'query' });
  });

  it('of a name that a dead service may own are unavailable, not unknown', async () => {
    const services = three();
    services.weather.down = true;
    await expect(ask(setUp(services).gateway, 'tools/call', { name: 'forecast' })).rejects.toMatchObject({ code: 'unavailable' });
  });

  it('complete arguments at the owner of the prompt or template', async () => {
    const services = three();
    const { gateway } = setUp(services);
    await ask(gateway, 'completion/complete', { ref: { type: 'ref/prompt', name: 'pack' }, argument: { name: 'a', value: '' } });
    await ask(gateway, 'completion/complete', { ref: { type: 'ref/resource', uri: 'own:{path}' }, argument: { name: 'path', value: '' } });
    expect([services.weather.count('completion/complete'), services.files.count('completion/complete')]).toEqual([1, 1]);
  });

  it('know the schema of a listed tool', async () => {
    const { gateway } = setUp(three());
    expect(gateway.toolInputSchema?.('read_file', testContext())).toBeUndefined();
    await ask(gateway, 'tools/list');
    expect(gateway.toolInputSchema?.('read_file', testContext())).toMatchObject({ properties: { path: { 'x-mcp-header': 'Path' } } });
  });

  it("of tools come from the caller's own list: of a tool it was not shown there is none", async () => {
    const { gateway } = setUp({ admin: new FakeService({ tools: [tool('drop')], only: 'root' }) });
    const asked = async (id: string) => {
      await ask(gateway, 'tools/list', {}, id);
      return gateway.toolInputSchema?.('drop', testContext({ principal: testPrincipal({ id }) }));
    };
    expect(await asked('root')).toEqual({ type: 'object' });
    expect(await asked('alice')).toBeUndefined();
    const demoted = testContext({ principal: testPrincipal({ id: 'root', roles: ['viewer'] }) });
    expect(gateway.toolInputSchema?.('drop', demoted)).toBeUndefined();
  });
});

describe('reads', () => {
  it.each([
    ['db://{+a}/{+b}/{+c}', `db://${'/'.repeat(100_000)}\n`],
    ['x://{a}{b}{c}{d}{e}{f}!', `x://${'a'.repeat(100_000)}`],
    ['x://{a*}{b*}{c*}{d*}!', `x://${'a,'.repeat(50_000)}`],
  ])('are decided at once for the template %s', async (uriTemplate, uri) => {
    const { gateway } = setUp({ files: new FakeService({ templates: [{ uriTemplate, name: 'hostile' }] }) });
    const startedAt = performance.now();
    await expect(ask(gateway, 'resources/read', { uri })).rejects.toMatchObject({ code: 'resource_not_found' });
    expect(performance.now() - startedAt).toBeLessThan(1_000);
  });

  it('go to the service with a matching template', async () => {
    const services = { ...three(), other: new FakeService({ templates: [{ uriTemplate: 'else:{x}', name: 'else' }] }) };
    const { gateway } = setUp(services);
    expect(await ask(gateway, 'resources/read', { uri: 'own:notes.txt' })).toMatchObject({ contents: [{ text: 'found' }] });
    expect(services.other.count('resources/read')).toBe(0);
  });

  it('go to the service that lists the URI', async () => {
    const services = three();
    await ask(setUp(services).gateway, 'resources/read', { uri: 'db://tables' }).catch(() => {});
    expect([services.weather, services.database, services.files].map((service) => service.count('resources/read'))).toEqual([0, 1, 0]);
  });

  it('of a URI nobody lists are offered to each service in turn', async () => {
    const services = { a: new FakeService({ resources: [] }), b: new FakeService({ resources: [] }) };
    const { gateway } = setUp(services);
    await expect(ask(gateway, 'resources/read', { uri: 'nobody:x' })).rejects.toMatchObject({ code: 'resource_not_found' });
    await expect(ask(gateway, 'resources/read', { uri: 'secret:x' })).rejects.toMatchObject({ code: 'forbidden' });
    expect(await ask(gateway, 'resources/read', { uri: 'own:x' })).toMatchObject({ contents: [{ uri: 'own:x' }] });
  });
});

describe('of two services with the same name', () => {
  const twins = () => ({
    first: new FakeService({ tools: [tool('search', { title: 'first' }), tool('only_first')] }),
    second: new FakeService({ tools: [tool('search', { title: 'second' }), tool('only_second')] }),
  });

  it('the first keeps it, and the other is reported', async () => {
    const services = twins();
    const { gateway, problems } = setUp(services);
    const { tools } = await ask(gateway, 'tools/list');
    expect((tools as JsonObject[]).map(({ name, title }) => [name, title])).toEqual([
      ['search', 'first'],
      ['only_first', undefined],
      ['only_second', undefined],
    ]);
    expect(problems).toEqual([{ kind: 'collision', method: 'tools/list', name: 'search', keptBy: 'first', refusedFrom: 'second' }]);
    await ask(gateway, 'tools/call', { name: 'search' });
    expect([services.first.count('tools/call'), services.second.count('tools/call')]).toEqual([1, 0]);
  });

  it('the first keeps it while it is down, so that no call ends up at the other', async () => {
    const services = twins();
    const { gateway, clock } = setUp(services);
    await ask(gateway, 'tools/list');
    services.first.down = true;
    await clock.advance(600_000);
    expect(names(await ask(gateway, 'tools/list'))).toEqual(['only_second']);
    await expect(ask(gateway, 'tools/call', { name: 'search' })).rejects.toMatchObject({ code: 'unavailable' });
    expect(services.second.count('tools/call')).toBe(0);
  });

  it('the other gets it a minute after the first has stopped offering it', async () => {
    const services = twins();
    const { gateway, clock } = setUp(services);
    await ask(gateway, 'tools/list');
    services.first.offer = { tools: [tool('only_first')] };
    await clock.advance(30_000);
    expect(names(await ask(gateway, 'tools/list'))).toEqual(['only_first', 'only_second']);
    await clock.advance(31_000);
    expect(names(await ask(gateway, 'tools/list'))).toEqual(['only_first', 'search', 'only_second']);
    await ask(gateway, 'tools/call', { name: 'search' });
    expect(services.second.count('tools/call')).toBe(1);
  });

  it('both are offered under the names of their services where that was asked for', async () => {
    const services = twins();
    const { gateway, problems } = setUp(services, { collision: 'prefix' });
    expect(names(await ask(gateway, 'tools/list'))).toEqual([
      'first__search',
      'first__only_first',
      'second__search',
      'second__only_second',
    ]);
    expect(await ask(gateway, 'tools/call', { name: 'second__search' })).toEqual({ served: 'search' });
    await expect(ask(gateway, 'tools/call', { name: 'search' })).rejects.toMatchObject({ message: 'Unknown tool: search' });
    expect(problems).toEqual([]);
  });
});

it.each([
  ['services', { services: {} }],
  ['services.my service', { services: { 'my service': new FakeService({}) } }],
  ['collision', { collision: 'last' }],
  ['listTtlMs', { listTtlMs: -1 }],
  ['listTimeoutMs', { listTimeoutMs: 0 }],
])('a wrong %s is refused', (option, wrong) => {
  const good = { info: { name: 'g', version: '1' }, services: three() };
  expect(() => createGateway({ ...good, ...wrong } as GatewayOptions)).toThrow(expect.objectContaining({ option }));
});
