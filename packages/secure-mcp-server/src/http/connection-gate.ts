import type { Socket } from 'node:net';
import { RpcError } from '@mcp-blocks/core';
import { AddressList, plainAddress, siteOf } from '../address-list.js';
import { integerOption } from '../options.js';

/** Which addresses may connect, and how often. */
export interface AddressOptions {
  /** Addresses and networks that may connect. Default: all. */
  readonly allowedAddresses?: readonly string[];
  /** Addresses and networks that may not, also when they are allowed. Default: none. */
  readonly deniedAddresses?: readonly string[];
  /**
   * Addresses and networks of reverse proxies whose `X-Forwarded-For` is believed. Default: none, and the
   * header is ignored.
   */
  readonly trustedProxies?: readonly string[];
  /**
   * Most connections of one address at a time, of IPv6 one /64 network, which one site may choose freely in; trusted
   * proxies not counted. Further ones are closed at once. Default: 1000.
   */
  readonly maxConnectionsPerIp?: number;
}

/** Decides by address who gets in. Addresses behind trusted proxies are known only with a request, see `check`. */
export class ConnectionGate {
  readonly trustedProxies: AddressList;
  readonly #allowed: AddressList | undefined;
  readonly #denied: AddressList;
  readonly #maxConnectionsPerIp: number;
  readonly #connections = new Map<string, number>();

  /** @throws ConfigurationError for what is no address or network, and a limit out of range. */
  constructor(options: AddressOptions) {
    this.trustedProxies = new AddressList('http.trustedProxies', options.trustedProxies ?? []);
    this.#allowed = options.allowedAddresses && new AddressList('http.allowedAddresses', options.allowedAddresses);
    this.#denied = new AddressList('http.deniedAddresses', options.deniedAddresses ?? []);
    this.#maxConnectionsPerIp = integerOption('http.maxConnectionsPerIp', options.maxConnectionsPerIp, { fallback: 1000 });
  }

  /** Counts a connection until it closes, or tells which option keeps it out. */
  enter(socket: Socket): 'deniedAddresses' | 'allowedAddresses' | 'maxConnectionsPerIp' | undefined {
    const address = plainAddress(socket.remoteAddress);
    if (this.trustedProxies.has(address)) return undefined;
    const refusal = this.#refusal(address);
    if (refusal !== undefined) return refusal;
    if (address === undefined) return undefined;
    const site = siteOf(address);
    const open = this.#connections.get(site) ?? 0;
    if (open >= this.#maxConnectionsPerIp) return 'maxConnectionsPerIp';
    this.#connections.set(site, open + 1);
    socket.once('close', () => {
      const left = (this.#connections.get(site) ?? 1) - 1;
      if (left === 0) this.#connections.delete(site);
      else this.#connections.set(site, left);
    });
    return undefined;
  }

  /** @throws RpcError `forbidden` for a client that a trusted proxy let through and the lists do not. */
  check(address: string | undefined): void {
    const refusal = this.trustedProxies.has(address) ? undefined : this.#refusal(address);
    if (refusal !== undefined) throw new RpcError('forbidden', 'Requests from this address are not accepted', { auditReason: refusal });
  }

  #refusal(address: string | undefined): 'deniedAddresses' | 'allowedAddresses' | undefined {
    if (this.#denied.has(address)) return 'deniedAddresses';
    return this.#allowed !== undefined && !this.#allowed.has(address) ? 'allowedAddresses' : undefined;
  }
}
