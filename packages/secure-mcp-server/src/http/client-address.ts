import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { type AddressList, plainAddress } from '../address-list.js';

/**
 * The address a request came from. `X-Forwarded-For` is believed as far as trusted proxies wrote it: from the
 * right, the first address that is no trusted proxy's is the client's. What is left of it is the client's own
 * claim, and ignored.
 */
export function clientAddress(request: IncomingMessage, trusted: AddressList): string | undefined {
  let address = socketAddress(request.socket);
  if (trusted.size === 0 || !trusted.has(address)) return address;
  const hops = forwardedFor(request);
  while (hops.length > 0 && trusted.has(address)) {
    const hop = plainAddress(withoutPort(hops.pop() as string));
    // The proxy does not say (`unknown`): the caller has no address then, least of all the proxy's.
    if (hop === undefined) return undefined;
    address = hop;
  }
  return address;
}

const ADDRESSES = new WeakMap<Socket, string>();

/** The address of a connection's other end, which stays the same. */
function socketAddress(socket: Socket): string | undefined {
  const known = ADDRESSES.get(socket);
  if (known !== undefined) return known;
  const address = plainAddress(socket.remoteAddress);
  if (address !== undefined) ADDRESSES.set(socket, address);
  return address;
}

/** Whether a proxy that is not trusted says it stands between: then the address is not that of who asks. */
export function isForwardedByStranger(request: IncomingMessage, trusted: AddressList): boolean {
  const forwarded = request.headers['x-forwarded-for'] !== undefined || request.headers.forwarded !== undefined;
  return forwarded && !trusted.has(request.socket.remoteAddress);
}

function forwardedFor(request: IncomingMessage): string[] {
  const header = request.headers['x-forwarded-for'];
  const text = Array.isArray(header) ? header.join(',') : (header ?? '');
  return text.split(',').map((hop) => hop.trim());
}

/** Some proxies write `192.0.2.1:4711` and `[2001:db8::1]:4711`. */
function withoutPort(hop: string): string {
  return /^\[([^\]]+)\](?::\d+)?$/.exec(hop)?.[1] ?? /^(\d+\.\d+\.\d+\.\d+):\d+$/.exec(hop)?.[1] ?? hop;
}
