import { ConfigurationError, isLoopbackAddress } from '@mcp-blocks/core';
import { credentialParameter } from './subprotocols.js';

/** @throws ConfigurationError for what is no `wss:` URL, nor `ws:` where that is allowed, or holds a credential. */
export function checkUrl(given: string | URL, allowInsecure: boolean): URL {
  const url = URL.parse(String(given));
  if (url === null || (url.protocol !== 'ws:' && url.protocol !== 'wss:')) {
    throw new ConfigurationError('url', 'expected a ws:// or wss:// URL');
  }
  const credential = credentialParameter(url.searchParams);
  if (url.username !== '' || url.password !== '' || credential !== undefined) {
    throw new ConfigurationError('url', 'holds a credential; use the options token or headers');
  }
  if (url.hash !== '') throw new ConfigurationError('url', 'expected no fragment');
  if (url.protocol === 'ws:' && !allowInsecure && !isLoopbackAddress(url.hostname.replace(/^\[|\]$/g, ''))) {
    throw new ConfigurationError('url', `plain ws:// to ${url.hostname}: use wss://, or say allowInsecure: true`);
  }
  return url;
}
