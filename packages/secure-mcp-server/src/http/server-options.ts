import type { IncomingMessage, ServerOptions } from 'node:http';
import type { ResolvedHttpOptions } from './options.js';
import { HttpRefusal } from './refusal.js';

/** What Node's HTTP server is made with. */
export function serverOptions({ headersTimeoutMs, bodyTimeoutMs, keepAliveTimeoutMs, upgrades }: ResolvedHttpOptions): ServerOptions {
  return {
    headersTimeout: headersTimeoutMs,
    // Ours comes first and answers; this one catches what never reaches our reader.
    requestTimeout: headersTimeoutMs + bodyTimeoutMs + 1000,
    connectionsCheckingInterval: Math.min(5000, headersTimeoutMs),
    keepAliveTimeout: keepAliveTimeoutMs,
    // Another upgrade, such as to h2c, is not taken: the request is served as it is (RFC 9110, section 7.8).
    shouldUpgradeCallback: ({ method, url = '/' }) => method === 'GET' && upgrades.some(({ path }) => path === url.split('?', 1)[0]),
  };
}

/** Of several `Host` headers Node takes the first, and what stands in front could take another. @throws HttpRefusal 400 (RFC 9112, section 3.2). */
export function checkOneHost({ rawHeaders }: IncomingMessage): void {
  let hosts = 0;
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index] as string;
    if (name.length === 4 && name.toLowerCase() === 'host') hosts += 1;
  }
  if (hosts > 1) throw new HttpRefusal(400, 'invalid_request', 'Host: expected once');
}
