import { BlockList, isIP } from 'node:net';
import { ConfigurationError } from '@mcp-blocks/core';
import { ToolError } from '../tool-error.js';

/** What {@link checkUri} accepts. */
export interface CheckUriOptions {
  /** Without colon, in lower case, at least one: `['https']`. */
  readonly schemes: readonly string[];
  /** The only host names or addresses, without port; exactly these, no subdomains. Default: every public one. */
  readonly hosts?: readonly string[];
  /** Accepts hosts that are not public, too. Default: `false`. */
  readonly allowPrivate?: boolean;
}

/** IPv4 that is not globally reachable: IANA's special-purpose registry, multicast, reserved. */
const IPV4_NOT_PUBLIC = [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.88.99.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 3],
] as const;
/** Global unicast less protocol assignments (Teredo among them), documentation and 6to4. Any other IPv6, IPv4-mapped too, is not public. */
const IPV6_GLOBAL_UNICAST = ['2000::', 3] as const;
const IPV6_NOT_PUBLIC = [
  ['2001::', 23],
  ['2001:db8::', 32],
  ['2002::', 16],
  ['3fff::', 20],
] as const;
/** Domains of this machine and of networks that are nobody else's business (RFC 6761, 6762, 8375; ICANN). */
const PRIVATE_DOMAIN = /(?:^|\.)(?:localhost|local|internal|home\.arpa)$/;
const SCHEME = /^[a-z][a-z0-9+.-]*$/;

const ipv4NotPublic = new BlockList();
for (const [network, prefix] of IPV4_NOT_PUBLIC) ipv4NotPublic.addSubnet(network, prefix, 'ipv4');
const ipv6GlobalUnicast = new BlockList();
ipv6GlobalUnicast.addSubnet(...IPV6_GLOBAL_UNICAST, 'ipv6');
const ipv6NotPublic = new BlockList();
for (const [network, prefix] of IPV6_NOT_PUBLIC) ipv6NotPublic.addSubnet(network, prefix, 'ipv6');

/**
 * A caller's URI, for tools that connect to where it points, if it names a host in one of the `schemes`, without
 * credentials, and the host is public: not loopback, private, link-local or otherwise special as an IPv4 address
 * in any notation that URLs know, as IPv6 or IPv4-mapped, and not a name without dot or under `localhost`, `local`,
 * `internal` or `home.arpa`.
 *
 * **It looks at the text only.** A public name that resolves to a private address passes, at once or later (DNS
 * rebinding), and so does a public server that redirects to one. Against the former, check the address after
 * resolution, where the connection is made; against the latter, check each redirect's target again.
 *
 * @returns the URI as parsed: use it and not the caller's text.
 * @throws ToolError, which never quotes the URI, for one that is refused; ConfigurationError for `schemes` or `hosts`
 * that are not as documented.
 */
export function checkUri(value: string, { schemes, hosts, allowPrivate = false }: CheckUriOptions): URL {
  const allowed = checkedSchemes(schemes);
  const allowedHosts = hosts?.map(checkedHost);
  if (typeof value !== 'string' || !URL.canParse(value)) throw new ToolError('Expected an absolute URI');
  const uri = new URL(value);
  if (!allowed.includes(uri.protocol.slice(0, -1))) throw new ToolError(`Expected a URI with one of the schemes ${allowed.join(', ')}`);
  if (uri.username !== '' || uri.password !== '') throw new ToolError('The URI must not hold credentials');
  const host = normalisedHost(uri.hostname);
  if (host === undefined) throw new ToolError('The URI must name a host');
  if (allowedHosts !== undefined && !allowedHosts.includes(host)) throw new ToolError('The host of the URI is not among those allowed');
  if (!allowPrivate && !isPublic(host)) throw new ToolError('The host of the URI is not a public one');
  return uri;
}

/**
 * Without brackets and final dots. As of an `http` URL, since only of some schemes does the parser decode percent
 * signs and read `0x7f.1` as an address.
 */
function normalisedHost(hostname: string): string | undefined {
  const url = `http://${hostname}/`;
  if (hostname === '' || !URL.canParse(url)) return undefined;
  const host = new URL(url).hostname.replace(/^\[(.*)\]$/, '$1').replace(/\.+$/, '');
  return host === '' ? undefined : host;
}

function isPublic(host: string): boolean {
  switch (isIP(host)) {
    case 4:
      return !ipv4NotPublic.check(host, 'ipv4');
    case 6:
      return ipv6GlobalUnicast.check(host, 'ipv6') && !ipv6NotPublic.check(host, 'ipv6');
    default:
      return host.includes('.') && !PRIVATE_DOMAIN.test(host);
  }
}

function checkedSchemes(schemes: readonly string[]): readonly string[] {
  if (!Array.isArray(schemes) || schemes.length === 0) throw new ConfigurationError('schemes', 'expected at least one scheme');
  for (const [index, scheme] of schemes.entries()) {
    if (typeof scheme !== 'string' || !SCHEME.test(scheme)) {
      throw new ConfigurationError(`schemes[${index}]`, `expected a scheme in lower case without colon, got ${JSON.stringify(scheme)}`);
    }
  }
  return schemes;
}

function checkedHost(host: string, index: number): string {
  const bracketed = isIP(host) === 6 ? `[${host}]` : host;
  // A port, a path, credentials: whatever would be dropped from a host is a mistake.
  const normalised = typeof host === 'string' && !/[/?#@\\\s]|:\d*$/.test(bracketed) ? normalisedHost(bracketed) : undefined;
  if (normalised === undefined)
    throw new ConfigurationError(`hosts[${index}]`, `expected a host without port, got ${JSON.stringify(host)}`);
  return normalised;
}
