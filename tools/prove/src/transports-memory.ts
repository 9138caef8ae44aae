import { anonymous, type Listener, type ListenerHost } from '@mcp-blocks/core';
import { type ServedChannel, serveChannel } from '@mcp-blocks/core/sdk';
import type { TransportLink } from '@mcp-blocks/core/testing';
import type { Transport } from '@modelcontextprotocol/client';
import { InMemoryTransport } from '@modelcontextprotocol/server';

/** Both ends of a connection. */
export interface Ends {
  readonly client: Transport;
  readonly server: Transport;
}

/** Serves connections inside the process. */
export class MemoryListener implements Listener {
  readonly name = 'memory';
  readonly endpoint = 'memory:';
  readonly #served = new Set<ServedChannel>();
  readonly #prepare: (ends: Ends) => void;
  #host: ListenerHost | undefined;

  /** @param prepare - may do something to the ends of a connection before it is used. */
  constructor(prepare: (ends: Ends) => void = () => {}) {
    this.#prepare = prepare;
  }

  async listen(host: ListenerHost): Promise<void> {
    this.#host = host;
  }

  /** A connected client's end, and what can happen to it. */
  connect(): { readonly transport: Transport; readonly link: TransportLink } {
    const host = this.#host as ListenerHost;
    const [clientEnd, serverEnd] = InMemoryTransport.createLinkedPair();
    this.#prepare({ client: clientEnd, server: serverEnd });
    let frozen = false;
    for (const end of [clientEnd, serverEnd]) {
      const send = end.send.bind(end);
      end.send = async (message, options) => {
        if (!frozen) await send(message, options);
      };
    }
    const { maxInFlight, service, onError } = host;
    const served = serveChannel(service, serverEnd, { principal: anonymous, transport: this.name }, { maxInFlight, onError });
    this.#served.add(served);
    const link: TransportLink = {
      stall: () => {},
      resume: () => {},
      freeze: () => {
        frozen = true;
      },
      cut: () => void clientEnd.close(),
    };
    return { transport: clientEnd, link };
  }

  async drain(): Promise<void> {
    await Promise.all([...this.#served].map((served) => served.idle()));
  }

  async close(): Promise<void> {
    await Promise.all([...this.#served].map((served) => served.close()));
  }
}
