import { type JsonObject, RpcError, type RpcResult, type ServiceNode } from '@mcp-blocks/core';
import { type Connect, TransportFailure, type UpstreamRequest } from '../src/index.js';

/** How a node in memory behaves for now. */
export interface FakeNode {
  /** Cannot be reached. */
  down: boolean;
  /** Answers one request. Default: the node's id. */
  answer: (request: UpstreamRequest) => Promise<RpcResult> | RpcResult;
  /** How the health check goes. Default: it passes unless `down`. */
  ping: (signal: AbortSignal) => Promise<void>;
  readonly requests: { readonly method: string; readonly params: JsonObject }[];
  opened: number;
  closed: number;
}

/** Nodes in memory, failing on demand, and the connector that reaches them. */
export class FakeNodes {
  readonly #nodes = new Map<string, FakeNode>();
  readonly headers: Readonly<Record<string, string>>[] = [];

  /** The node's behaviour, to look at and to change. */
  of(id: string): FakeNode {
    let node = this.#nodes.get(id);
    if (node === undefined) {
      node = {
        down: false,
        answer: () => ({ content: [{ type: 'text', text: id }] }),
        ping: () => Promise.resolve(),
        requests: [],
        opened: 0,
        closed: 0,
      };
      this.#nodes.set(id, node);
    }
    return node;
  }

  list(...ids: string[]): ServiceNode[] {
    return ids.map((id) => ({ id, url: `http://${id}.test/mcp` }));
  }

  readonly connect: Connect = async ({ id }, { headers, signal }) => {
    const node = this.of(id);
    this.headers.push(headers);
    if (node.down) throw new TransportFailure('connection refused', { delivery: 'not-sent' });
    await node.ping(signal);
    node.opened += 1;
    let closed = false;
    return {
      get closed() {
        return closed;
      },
      request: async (request) => {
        if (node.down) throw new TransportFailure('connection refused', { delivery: 'not-sent' });
        node.requests.push({ method: request.method, params: request.params });
        const aborted = new Promise<never>((_resolve, reject) => {
          request.signal.addEventListener('abort', () => reject(request.signal.reason as Error), { once: true });
        });
        return Promise.race([Promise.resolve(request).then(node.answer), aborted]);
      },
      ping: (pingSignal) => (node.down ? Promise.reject(new TransportFailure('down', { delivery: 'not-sent' })) : node.ping(pingSignal)),
      close: async () => {
        if (!closed) node.closed += 1;
        closed = true;
      },
    };
  };
}

/** The request was sent and no answer came. */
export const lost = () => Promise.reject(new TransportFailure('connection reset', { delivery: 'unknown' }));
/** The node says that it takes no requests. */
export const draining = () => Promise.reject(new RpcError('unavailable', 'draining'));
export const never = () => new Promise<never>(() => {});
