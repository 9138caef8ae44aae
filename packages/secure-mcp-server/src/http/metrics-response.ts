import type { IncomingMessage } from 'node:http';
import type { AddressList } from '../address-list.js';
import type { MetricsPage } from '../metrics-page.js';
import { clientAddress, isForwardedByStranger } from './client-address.js';
import { HttpRefusal } from './refusal.js';

/** The page of metrics. @throws HttpRefusal 403 for readers it does not admit, 405 for other methods than GET. */
export async function metricsResponse(page: MetricsPage, request: IncomingMessage, trusted: AddressList): Promise<Response> {
  if (request.method !== 'GET') throw new HttpRefusal(405, 'invalid_request', 'Metrics can only be read', { allow: 'GET' });
  const remoteAddress = isForwardedByStranger(request, trusted) ? undefined : clientAddress(request, trusted);
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
