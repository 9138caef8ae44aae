import { localhostAllowedHostnames, localhostAllowedOrigins, validateHostHeader, validateOriginHeader } from '@modelcontextprotocol/server';
import { ConfigurationError, RpcError } from '../errors.js';
import { isLoopbackAddress } from '../loopback-address.js';

/** Options of {@link RequestGuard}. */
export interface RequestGuardOptions {
  /** The address listened on, such as `127.0.0.1`. */
  readonly bindAddress: string;
  /**
   * Hostnames accepted in `Host`, without port; IPv6 in brackets. Default on a loopback address:
   * `localhost`, `127.0.0.1`, `[::1]`. Required on any other.
   */
  readonly allowedHosts?: readonly string[];
  /**
   * Hostnames accepted in `Origin`. Requests without `Origin`, which do not come from a browser, pass.
   * Default: the loopback names on a loopback address, else none.
   */
  readonly allowedOrigins?: readonly string[];
}

/** Ends a host where a URL is made of it, or sets a user name before it: RFC 9112, section 3.2, has neither. */
const NOT_IN_HOST = /[@/?#\\\s]/;

/** More spellings of the names, with ports, are looked at anew each time. */
const MAX_KNOWN_HOSTS = 100;

/**
 * Refuses requests that a web page could have been tricked into sending: a `Host` this server does not
 * go by (DNS rebinding) or a foreign `Origin` (MCP 2026-07-28, transports/streamable-http, "Security").
 */
export class RequestGuard {
  readonly #hosts: string[];
  readonly #origins: string[];
  /** The header as clients have written it so far, where it was right. */
  readonly #knownHosts = new Set<string>();

  /** @throws ConfigurationError when the address is not loopback and `allowedHosts` is not given. */
  constructor({ bindAddress, allowedHosts, allowedOrigins }: RequestGuardOptions) {
    const loopback = isLoopbackAddress(bindAddress);
    if (allowedHosts === undefined && !loopback) {
      throw new ConfigurationError(
        'allowedHosts',
        `required when listening on ${bindAddress}: the hostnames clients use to reach this server`,
      );
    }
    this.#hosts = [...(allowedHosts ?? localhostAllowedHostnames())];
    this.#origins = [...(allowedOrigins ?? (loopback ? localhostAllowedOrigins() : []))];
  }

  /** @throws RpcError `forbidden` naming the header that was refused. */
  check(headers: { readonly host?: string | undefined; readonly origin?: string | undefined }): void {
    const { host = '' } = headers;
    if (!this.#knownHosts.has(host) && (NOT_IN_HOST.test(host) || !validateHostHeader(headers.host, this.#hosts).ok)) {
      throw new RpcError('forbidden', 'Host: this server does not go by the name in the Host header (option allowedHosts)', {
        auditReason: 'foreign host',
      });
    }
    if (this.#knownHosts.size < MAX_KNOWN_HOSTS) this.#knownHosts.add(host);
    if (headers.origin !== undefined && !validateOriginHeader(headers.origin, this.#origins).ok) {
      throw new RpcError('forbidden', 'Origin: requests from this web origin are not accepted (option allowedOrigins)', {
        auditReason: 'foreign origin',
      });
    }
  }
}
