import { BlockList, isIP } from 'node:net';
import { ConfigurationError } from '@mcp-blocks/core';

/** A set of IP addresses and networks. An IPv4 address mapped into IPv6 (`::ffff:192.0.2.1`) counts as the IPv4 address. */
export class AddressList {
  readonly #list = new BlockList();
  readonly size: number;

  /**
   * @param option - names the option in errors.
   * @param entries - addresses and CIDR networks: `192.0.2.1`, `10.0.0.0/8`, `2001:db8::/32`.
   * @throws ConfigurationError for an entry that is neither.
   */
  constructor(option: string, entries: readonly string[]) {
    this.size = entries.length;
    for (const [index, entry] of entries.entries()) {
      const [address = '', prefix, ...rest] = String(entry).split('/');
      const family = isIP(address);
      const bits = prefix === undefined ? (family === 4 ? 32 : 128) : /^\d{1,3}$/.test(prefix) ? Number(prefix) : Number.NaN;
      if (family === 0 || rest.length > 0 || !(bits <= (family === 4 ? 32 : 128))) {
        throw new ConfigurationError(`${option}[${index}]`, `expected an IP address or network such as '10.0.0.0/8', got '${entry}'`);
      }
      this.#list.addSubnet(address, bits, family === 4 ? 'ipv4' : 'ipv6');
    }
  }

  has(address: string | undefined): boolean {
    if (this.size === 0) return false;
    const plain = plainAddress(address);
    if (plain === undefined) return false;
    return this.#list.check(plain, isIP(plain) === 4 ? 'ipv4' : 'ipv6');
  }
}

/** The address without zone, IPv4 taken out of IPv6; `undefined` for what is no address. */
export function plainAddress(address: string | undefined): string | undefined {
  if (address === undefined) return undefined;
  const plain = address.replace(/%.*$/, '').replace(/^::ffff:(?=\d+\.\d+\.\d+\.\d+$)/i, '');
  return isIP(plain) === 0 ? undefined : plain;
}

/** An IPv4 address as it is, of an IPv6 address its /64 network: what one site has to itself (RFC 6177). */
export function siteOf(address: string): string {
  if (isIP(address) !== 6) return address;
  const [left, right] = address.split('::').map((half) => (half === '' ? [] : half.split(':')));
  // An IPv4 address at the end stands for two groups.
  const missing = 8 - (left?.length ?? 0) - (right?.length ?? 0) - (address.includes('.') ? 1 : 0);
  return [...(left ?? []), ...Array<string>(missing).fill('0'), ...(right ?? [])].slice(0, 4).join(':');
}
