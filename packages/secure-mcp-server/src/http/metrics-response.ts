import type { IncomingMessage } from 'node:http';
import { isIP } from 'node:net';
import type { RequestGuard } from '@mcp-blocks/core/node';
import type { AddressList } from '../address-list.js';
import type { MetricsPage } from '../metrics-page.js';
import { clientAddress, isForwardedByStranger } from './client-address.js';
import { HttpRefusal } from './refusal.js';

/**
 * The page of metrics. The address of a reader counts for nothing where a proxy that is not trusted, or a web page whose
 * name was made to resolve to this server (DNS rebinding), may stand between.
 *
 * @throws HttpRefusal 403 for readers it does not admit, 405 for other methods than GET.
 */
export async function metricsResponse(
  page: MetricsPage,
  request: IncomingMessage,
  trusted: AddressList,
  guard: RequestGuard,
): Promise<Response> {
  if (request.method !== 'GET') throw new HttpRefusal(405, 'invalid_request', 'Metrics can only be read', { allow: 'GET' });
  const isDirect = !isForwardedByStranger(request, trusted) && isOwnHost(request.headers.host ?? '', guard);
  const remoteAddress = isDirect ? clientAddress(request, trusted) : undefined;
  const header = (name: string) => {
    const value = request.headers[name];
    return Array.isArray(value) ? value.join(', ') : value;
  };
  if (!page.admits({ header, ...(remoteAddress === undefined ? {} : { remoteAddress }) })) {
    throw new HttpRefusal(403, 'forbidden', 'Metrics are not for you');
  }
  const { contentType, body } = await page.render();
  return new Response(body, { headers: { 'content-type': contentType } });
}

/** Whether `Host` is an address, which no foreign name can be made to be, or a name this server goes by. */
function isOwnHost(host: string, guard: RequestGuard): boolean {
  const [, v6, v4 = ''] = /^(?:\[([^\]]+)\]|([\d.]+))(?::\d+)?$/.exec(host) ?? [];
  if (isIP(v6 ?? v4) !== 0) return true;
  try {
    guard.check({ host });
    return true;
  } catch {
    return false;
  }
}
