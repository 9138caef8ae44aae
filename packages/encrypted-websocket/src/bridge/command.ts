import { readFile } from 'node:fs/promises';
import type { Readable, Writable } from 'node:stream';
import { type Clock, ConfigurationError, type RpcError, sleep, systemClock } from '@mcp-blocks/core';
import { WebSocketClientTransport } from '../client-transport.js';
import { Bridge } from './bridge.js';
import { type BridgeArguments, HELP, parseCommandLine } from './command-line.js';
import { type Credentials, loadCredentials } from './credentials.js';
import { HostStream } from './host-stream.js';
import { HttpChannel } from './http-channel.js';
import { HttpRemote } from './http-remote.js';
import { writeKeyPair } from './key-file.js';
import type { Remote, RemoteEvents } from './remote.js';
import { UsageError } from './usage-error.js';
import { WebSocketRemote } from './websocket-remote.js';

/** What the command has of its process. */
export interface CommandProcess {
  readonly stdin: Readable;
  readonly stdout: Writable;
  readonly stderr: Writable;
  readonly env: NodeJS.ProcessEnv;
  /** Aborts when the process is asked to end. */
  readonly ended: AbortSignal;
}

const MAX_JSON_DEPTH = 64;

/** Runs the command line to its end. @returns the exit code: 0, 1 or 2, as the help text says. */
export async function runCommand(argv: readonly string[], own: CommandProcess): Promise<number> {
  try {
    const line = parseCommandLine(argv);
    if (line.command === 'bridge') return await runBridge(line.options, await loadCredentials(line.options, own.env), own);
    if (line.command === 'keygen') {
      own.stdout.write(`${await writeKeyPair(line.file)}\n`);
      return 0;
    }
    own.stdout.write(line.command === 'help' ? HELP : `${await version()}\n`);
    return 0;
  } catch (error) {
    if (!(error instanceof UsageError) && !(error instanceof ConfigurationError)) throw error;
    own.stderr.write(`encrypted-websocket: ${error.message}\nSee encrypted-websocket --help.\n`);
    return 2;
  }
}

async function runBridge(options: BridgeArguments, credentials: Credentials, own: CommandProcess): Promise<number> {
  const clock = systemClock;
  // A server's words are in some of it, and shall not command the terminal.
  const log = (text: string) => void own.stderr.write(`bridge: ${credentials.redact(text).replace(/[\p{Cc}\p{Cf}]/gu, '?')}\n`);
  const debug = options.verbose ? log : () => {};
  // Timers of the clock keep no process alive, and there may be nothing else while the server is away.
  const keepAlive = setInterval(() => {}, 2 ** 30);
  try {
    return await new Promise<number>((resolve, reject) => {
      const bridge = new Bridge({
        connect: (events) => connectTo(options, credentials, clock, events),
        toHost: (message) => host.write(message),
        onFatal: (error: RpcError) => {
          log(error.message);
          resolve(1);
        },
        warn: log,
        debug,
        connectTimeoutMs: options.connectTimeoutMs,
        waitTimeoutMs: options.waitTimeoutMs,
        maxWaiting: options.maxWaiting,
        clock,
        random: Math.random,
      });
      const close = () => void bridge.close().then(() => resolve(0), reject);
      const host = new HostStream({
        input: own.stdin,
        output: own.stdout,
        maxMessageBytes: options.maxMessageBytes,
        maxJsonDepth: MAX_JSON_DEPTH,
        clock,
        onMessage: (message) => bridge.fromHost(message),
        onEnd: () => {
          debug('The host has ended its input');
          void Promise.race([bridge.idle(), sleep(clock, options.drainTimeoutMs)]).then(close);
        },
        onBroken: close,
      });
      own.ended.addEventListener('abort', close, { once: true });
      host.start();
      bridge.start();
    });
  } finally {
    clearInterval(keepAlive);
  }
}

function connectTo(options: BridgeArguments, { token, headers, tls, noise }: Credentials, clock: Clock, events: RemoteEvents): Remote {
  const { url, maxMessageBytes, connectTimeoutMs, allowInsecure } = options;
  if (url.protocol === 'http:' || url.protocol === 'https:') {
    const credentials = async () => ({ ...headers, ...(token === undefined ? {} : { authorization: `Bearer ${await token()}` }) });
    const channel = new HttpChannel({ url, tls, credentials, connectTimeoutMs, clock });
    return new HttpRemote(channel, { maxMessageBytes, maxJsonDepth: MAX_JSON_DEPTH, clock }, events);
  }
  const connect = () =>
    new WebSocketClientTransport(url, {
      ...(token === undefined ? {} : { token }),
      headers,
      tls,
      ...(noise === undefined ? {} : { noise }),
      ...(allowInsecure ? { allowInsecure } : {}),
      handshakeTimeoutMs: connectTimeoutMs,
      maxMessageBytes,
      maxJsonDepth: MAX_JSON_DEPTH,
      clock,
    });
  // What can never work is told at once, not at each attempt.
  connect();
  return new WebSocketRemote(connect, events);
}

async function version(): Promise<string> {
  const manifest = JSON.parse(await readFile(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string };
  return manifest.version;
}
