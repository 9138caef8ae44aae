import { type Clock, ConfigurationError, systemClock } from '@mcp-blocks/core';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';
import { DistributedMCPCluster } from '../distributed-mcp-cluster.js';
import { connectOver } from './sdk-connector.js';
import { type Connect, TransportFailure } from './upstream.js';

/** Options of {@link stdioService}. */
export interface StdioServiceOptions {
  /** Names the service in messages. */
  readonly name: string;
  /** The program to start. No shell reads it. */
  readonly command: string;
  readonly args?: readonly string[];
  /** Added to the few variables that are passed on (`HOME`, `PATH` and their like). */
  readonly env?: Readonly<Record<string, string>>;
  /** Where it runs. Default: the directory of this process. */
  readonly cwd?: string;
  /** Where its stderr goes. Default: `inherit`, to this process's own. */
  readonly stderr?: 'inherit' | 'ignore';
  /** Longest message of it, in bytes; 1 or more. Default: 10,485,760 (10 MiB). */
  readonly maxMessageBytes?: number;
  /** Most calls in progress; 1 or more. Default: 16. A legacy server has a process for each call that may ask its caller. */
  readonly maxConcurrent?: number;
  /** For a whole call, in milliseconds; 1 or more. Default: 60,000. */
  readonly requestTimeout?: number;
  /** A process that no call needs ends after this many milliseconds; 1 or more. Default: 60,000. */
  readonly idleTimeout?: number;
  readonly clock?: Clock;
}

const FIRST_PAUSE_MS = 250;
const MAX_PAUSE_MS = 30_000;
/** A process that lived as long has not failed to start. */
const STARTED_MS = 10_000;

/** The SDK starts a process of its own class twice, the first time only to learn its era. */
class OwnedProcess extends StdioClientTransport {}

/**
 * A server that speaks over stdin and stdout as a service of a gateway. Its process is started when it is
 * needed, again when it has ended, after a pause that doubles while it keeps failing, and ended with `close`.
 *
 * It is a cluster of one node: `await service.start()` first. All callers share the process, whatever their rights.
 *
 * @throws ConfigurationError naming the option that is wrong.
 */
export function stdioService(options: StdioServiceOptions): DistributedMCPCluster {
  const { name, maxConcurrent = 16, requestTimeout, idleTimeout, clock } = options;
  return new DistributedMCPCluster({
    clusterName: name,
    discoveryMethod: 'static',
    // The URL only names it: the connector starts a process.
    discoveryConfig: { serviceName: name, nodes: [{ id: name, url: 'http://stdio.invalid/' }] },
    connect: processConnector(options),
    bulkheadConfig: { maxConcurrent },
    healthCheckConfig: { enabled: false },
    circuitBreakerConfig: { enabled: false },
    outlierDetectionConfig: { enabled: false },
    ...(requestTimeout === undefined ? {} : { requestTimeout }),
    ...(idleTimeout === undefined ? {} : { connectionIdleTimeout: idleTimeout }),
    ...(clock === undefined ? {} : { clock }),
  });
}

function processConnector(options: StdioServiceOptions): Connect {
  const { command, args = [], env, cwd, stderr = 'inherit', maxMessageBytes = 10_485_760, clock = systemClock } = options;
  if (typeof command !== 'string' || command === '') throw new ConfigurationError('command', 'expected a non-empty string');
  if (stderr !== 'inherit' && stderr !== 'ignore')
    throw new ConfigurationError('stderr', `expected inherit or ignore, got ${String(stderr)}`);
  if (!Number.isSafeInteger(maxMessageBytes) || maxMessageBytes < 1) {
    throw new ConfigurationError('maxMessageBytes', `expected a whole number from 1, got ${maxMessageBytes}`);
  }
  let failures = 0;
  let notBefore = 0;
  const failed = () => {
    failures += 1;
    notBefore = clock.now() + Math.min(MAX_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (failures - 1));
  };
  return async (_node, connectOptions) => {
    const startedAt = clock.now();
    if (startedAt < notBefore) {
      throw new TransportFailure(`The process is started again in ${notBefore - startedAt} ms`, { delivery: 'not-sent' });
    }
    const transport = new OwnedProcess({
      command,
      args: [...args],
      stderr,
      maxBufferSize: maxMessageBytes,
      ...(env === undefined ? {} : { env: { ...env } }),
      ...(cwd === undefined ? {} : { cwd }),
    });
    try {
      const upstream = await connectOver(transport, connectOptions);
      let closing = false;
      const close = upstream.close.bind(upstream);
      upstream.close = () => {
        closing = true;
        return close();
      };
      const ended = transport.onclose;
      transport.onclose = () => {
        ended?.();
        if (closing) return;
        if (clock.now() - startedAt >= STARTED_MS) failures = 0;
        failed();
      };
      return upstream;
    } catch (error) {
      if (!connectOptions.signal.aborted) failed();
      throw error;
    }
  };
}
