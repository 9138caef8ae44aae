import { ConfigurationError } from '@mcp-blocks/core';
import type { PerMessageDeflateOptions } from 'ws';
import { checkInteger } from './option-checks.js';

/** Compression of messages (permessage-deflate, RFC 7692). */
export interface DeflateOptions {
  /** Messages of fewer bytes are sent as they are. Default: 1,024. */
  readonly thresholdBytes?: number;
  /** Effort from 1, least, to 9. Default: 6, zlib's own. */
  readonly level?: number;
}

/** Compressions and decompressions of the whole process at a time; further ones wait. More fragment the memory of zlib. */
const CONCURRENCY = 10;

/** A window of 4 KiB: an end that compresses holds 32 KiB per connection, with zlib's largest it would be 256 KiB. */
const WINDOW_BITS = 12;
const MEMORY_LEVEL = 5;

/**
 * What ws is made with. No message is compressed with what another held (no context takeover), so that an end
 * keeps nothing of them, and nobody learns of one message from the length of another.
 *
 * @throws ConfigurationError naming the option that is out of range.
 */
export function deflateExtension(end: 'client' | 'server', options: true | DeflateOptions | undefined): PerMessageDeflateOptions | false {
  if (options === undefined) return false;
  if (options !== true && (typeof options !== 'object' || options === null)) {
    throw new ConfigurationError('deflate', `expected true or an object, got ${String(options)}`);
  }
  const { thresholdBytes = 1_024, level = 6 } = options === true ? {} : options;
  return {
    serverNoContextTakeover: true,
    clientNoContextTakeover: true,
    ...(end === 'server' ? { serverMaxWindowBits: WINDOW_BITS } : { clientMaxWindowBits: WINDOW_BITS }),
    concurrencyLimit: CONCURRENCY,
    threshold: checkInteger('deflate.thresholdBytes', thresholdBytes, { min: 0 }),
    zlibDeflateOptions: { level: checkInteger('deflate.level', level, { min: 1, max: 9 }), memLevel: MEMORY_LEVEL },
  };
}
