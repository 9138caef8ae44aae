import { isJsonObject } from '../json.js';
import { MODERN_PROTOCOL_VERSION } from '../protocol.js';
import type { RpcService } from '../service.js';
import type { Connection } from './connection.js';

/**
 * Asks the service whether the caller may subscribe to each resource a `subscriptions/listen` names. The
 * SDK's entries serve that method themselves, so the service is asked with `resources/subscribe`, which
 * it answers with the decision it uses for `resources/read`.
 *
 * @throws RpcError as the service's handler does for the first resource it refuses.
 */
export async function authorizeListen(service: RpcService, params: unknown, connection: Connection): Promise<void> {
  const resources = service.info.capabilities.resources;
  if (!isJsonObject(resources) || resources.subscribe !== true) return;
  const filter = isJsonObject(params) && isJsonObject(params.notifications) ? params.notifications : undefined;
  const uris = filter?.resourceSubscriptions;
  if (!Array.isArray(uris)) return;
  for (const uri of uris) {
    if (typeof uri !== 'string') continue;
    await service.handler(
      { method: 'resources/subscribe', params: { uri } },
      {
        principal: connection.principal,
        transport: connection.transport,
        protocolVersion: MODERN_PROTOCOL_VERSION,
        signal: new AbortController().signal,
        ...(connection.remoteAddress === undefined ? {} : { remoteAddress: connection.remoteAddress }),
        notify: () => Promise.resolve(),
      },
    );
  }
}
