import type { MessageId } from './remote.js';

/**
 * The requests a server of the legacy era has sent to the host and that are not answered. Each new session
 * of the server may use the same ids again; the host sees different ones, and its answer to a request of a
 * session that is gone reaches nobody.
 */
export class ServerRequests {
  readonly #open = new Map<MessageId, MessageId>();
  #session = 0;

  /** @returns the id the host sees. */
  accept(serverId: MessageId): MessageId {
    const hostId = this.#hostId(serverId);
    this.#open.set(hostId, serverId);
    return hostId;
  }

  /** @returns the server's id, or `undefined` where the server waits for no such answer. */
  answer(hostId: MessageId): MessageId | undefined {
    const serverId = this.#open.get(hostId);
    this.#open.delete(hostId);
    return serverId;
  }

  /** The server has cancelled the request. @returns the id the host knows it by. */
  cancel(serverId: MessageId): MessageId | undefined {
    const hostId = this.#hostId(serverId);
    return this.#open.delete(hostId) ? hostId : undefined;
  }

  /** The session is gone. @returns the ids of what the host still works on. */
  endSession(): MessageId[] {
    const open = [...this.#open.keys()];
    this.#open.clear();
    this.#session += 1;
    return open;
  }

  #hostId(serverId: MessageId): MessageId {
    return this.#session === 0 ? serverId : `bridge-${this.#session}:${typeof serverId}:${serverId}`;
  }
}
