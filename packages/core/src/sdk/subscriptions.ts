import { RpcError } from '../errors.js';
import { isJsonObject } from '../json.js';
import { MODERN_PROTOCOL_VERSION } from '../protocol.js';
import type { RpcService } from '../service.js';
import type { Connection } from './connection.js';

/** Longest URI that is remembered for a subscriber, in UTF-16 code units. */
const MAX_SUBSCRIBED_URI_LENGTH = 2048;

/** Most resources one connection, or one `subscriptions/listen`, may subscribe to. */
export const MAX_RESOURCE_SUBSCRIPTIONS = 1000;

/**
 * Asks the service whether the caller may subscribe to each resource a `subscriptions/listen` names. The
 * SDK's entries serve that method themselves, so the service is asked with `resources/subscribe`, which
 * it answers with the decision it uses for `resources/read`.
 *
 * @param signal - aborts when the caller is gone: the remaining resources are not asked about.
 * @param subscription - aborts when the subscription has ended; also when it was refused.
 * @throws RpcError as the service's handler does for the first resource it refuses, `invalid_params` for
 * more than 1,000 resources or a URI longer than 2,048 characters, `cancelled` when the signal aborts.
 */
export async function authorizeListen(
  service: RpcService,
  params: unknown,
  connection: Connection,
  signal: AbortSignal = new AbortController().signal,
  subscription?: AbortSignal,
): Promise<void> {
  const resources = service.info.capabilities.resources;
  if (!isJsonObject(resources) || resources.subscribe !== true) return;
  const filter = isJsonObject(params) && isJsonObject(params.notifications) ? params.notifications : undefined;
  const uris = filter?.resourceSubscriptions;
  if (!Array.isArray(uris)) return;
  if (uris.length > MAX_RESOURCE_SUBSCRIPTIONS) throw tooManySubscriptions();
  for (const uri of uris) {
    if (signal.aborted) throw new RpcError('cancelled', 'The client is gone');
    if (typeof uri !== 'string') continue;
    checkSubscribedUri(uri);
    await service.handler(
      { method: 'resources/subscribe', params: { uri } },
      {
        principal: connection.principal,
        transport: connection.transport,
        protocolVersion: MODERN_PROTOCOL_VERSION,
        signal,
        ...(connection.remoteAddress === undefined ? {} : { remoteAddress: connection.remoteAddress }),
        ...(subscription === undefined ? {} : { subscription }),
        notify: () => Promise.resolve(),
      },
    );
  }
}

export function tooManySubscriptions(): RpcError {
  return new RpcError('invalid_params', `At most ${MAX_RESOURCE_SUBSCRIPTIONS} resources can be subscribed to at a time`);
}

/** @throws RpcError `invalid_params` for a URI that takes too much memory to be remembered. */
export function checkSubscribedUri(uri: string): void {
  if (uri.length > MAX_SUBSCRIBED_URI_LENGTH) {
    throw new RpcError('invalid_params', `A resource can be subscribed to whose URI has at most ${MAX_SUBSCRIBED_URI_LENGTH} characters`);
  }
}
