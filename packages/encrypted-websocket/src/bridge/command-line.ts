import { parseArgs } from 'node:util';
import { isLoopbackAddress } from '@mcp-blocks/core/node';
import { MAX_TIMER_MS } from '../option-checks.js';
import { credentialParameter } from '../subprotocols.js';
import { type NoiseArguments, parseNoise } from './noise-options.js';
import { UsageError } from './usage-error.js';

/** What the command line asks for. Names of variables and files, never a secret. */
export interface BridgeArguments {
  readonly url: URL;
  readonly tokenEnv: string | undefined;
  readonly tokenFile: string | undefined;
  /** Header name → environment variable. */
  readonly headers: ReadonlyMap<string, string>;
  readonly ca: string | undefined;
  readonly cert: string | undefined;
  readonly key: string | undefined;
  readonly pins: readonly string[] | undefined;
  readonly noise: NoiseArguments | undefined;
  readonly allowInsecure: boolean;
  readonly connectTimeoutMs: number;
  readonly waitTimeoutMs: number;
  readonly drainTimeoutMs: number;
  readonly maxWaiting: number;
  readonly maxMessageBytes: number;
  readonly verbose: boolean;
}

/** What to do. */
export type CommandLine =
  | { readonly command: 'bridge'; readonly options: BridgeArguments }
  | { readonly command: 'keygen'; readonly file: string }
  | { readonly command: 'help' }
  | { readonly command: 'version' };

const OPTIONS = {
  'token-env': { type: 'string' },
  'token-file': { type: 'string' },
  header: { type: 'string', multiple: true },
  ca: { type: 'string' },
  cert: { type: 'string' },
  key: { type: 'string' },
  pin: { type: 'string', multiple: true },
  noise: { type: 'string' },
  'noise-cipher': { type: 'string' },
  'server-key': { type: 'string' },
  'client-key-file': { type: 'string' },
  'allow-insecure': { type: 'boolean' },
  'connect-timeout': { type: 'string' },
  'wait-timeout': { type: 'string' },
  'drain-timeout': { type: 'string' },
  'max-waiting': { type: 'string' },
  'max-message-bytes': { type: 'string' },
  verbose: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
  version: { type: 'boolean' },
} as const;

export const HELP = `Usage: encrypted-websocket bridge <url> [options]
       encrypted-websocket keygen <file>

keygen makes a key pair for Noise: the private key goes into a new file that only
its owner can read, the public key to stdout.

bridge connects an MCP host that starts processes (stdin and stdout) to an MCP server
at a URL: ws:// and wss:// for WebSocket, http:// and https:// for Streamable
HTTP. Messages go to stdout, everything else to stderr.

  --token-env NAME         bearer token, from this environment variable
  --token-file FILE        bearer token, from this file, read for each connection
  --header NAME=VARIABLE   further header, from this environment variable; may be repeated
  --ca FILE                certificates (PEM) to trust instead of the system's
  --cert FILE --key FILE   the client's own certificate and key (PEM)
  --pin PIN                the server's certificate must be this one, besides being valid:
                           sha256/<base64> of its public key, or its fingerprint in
                           hexadecimal; may be repeated
  --noise PATTERN          end-to-end encryption inside the WebSocket: NK, XK, IK or XX
  --noise-cipher CIPHER    AESGCM (the default) or ChaChaPoly
  --server-key KEY         the server's public key, or a file that holds it
  --client-key-file FILE   the client's private key, of keygen; for all patterns but NK
  --allow-insecure         ws:// or http:// to a host that is not loopback
  --connect-timeout MS     for the first connection (30000)
  --wait-timeout MS        how long a request waits while there is no connection (30000)
  --drain-timeout MS       for answers that are due when stdin has ended (5000)
  --max-waiting N          requests that wait at a time (256)
  --max-message-bytes N    largest message in either direction (4194304)
  --verbose                say more on stderr
  --help, --version

Exit codes: 0 when the host ended it (end of stdin, SIGTERM, SIGINT, SIGHUP),
1 when the server was never reached, refused the credentials at first, or came
back with another protocol revision, 2 for a wrong command line.
`;

/** Header names that are the transport's own. */
const RESERVED_HEADER =
  /^(host|connection|upgrade|content-.*|transfer-encoding|accept|last-event-id|sec-websocket-.*|mcp-(protocol-version|session-id|method|name|param-.*))$/;

/** @throws UsageError */
export function parseCommandLine(argv: readonly string[]): CommandLine {
  const secret = argv.find((argument) => /^--?(token|bearer|password|api-?key|authorization)(=|$)/i.test(argument));
  if (secret !== undefined) {
    throw new UsageError(
      `${secret.split('=', 1)[0]} is refused: everybody on this machine can read a command line. Use --token-env or --token-file`,
    );
  }
  const { values, positionals } = parse(argv);
  if (values.help === true) return { command: 'help' };
  if (values.version === true) return { command: 'version' };
  const [command, url, ...rest] = positionals;
  if (command === 'keygen') return parseKeygen(url, rest.length + Object.keys(values).length);
  if (command !== 'bridge') throw new UsageError(`${command === undefined ? 'A command is missing' : 'Unknown command'}: bridge or keygen`);
  if (url === undefined) throw new UsageError('The URL is missing');
  if (rest.length > 0) throw new UsageError('There is more than one URL');
  if (values['token-env'] !== undefined && values['token-file'] !== undefined) {
    throw new UsageError('--token-env and --token-file exclude each other');
  }
  if ((values.cert === undefined) !== (values.key === undefined)) throw new UsageError('--cert and --key belong together');
  const allowInsecure = values['allow-insecure'] === true;
  const headers = new Map((values.header ?? []).map(parseHeader));
  if (headers.has('authorization') && (values['token-env'] ?? values['token-file']) !== undefined) {
    throw new UsageError('--header authorization and a token exclude each other');
  }
  const target = parseUrl(url, allowInsecure);
  if (/^(ws|http):$/.test(target.protocol) && (values.ca ?? values.cert ?? values.pin) !== undefined) {
    throw new UsageError(`--ca, --cert and --pin need ${target.protocol === 'ws:' ? 'wss' : 'https'}://`);
  }
  const timeout = (name: 'connect-timeout' | 'wait-timeout' | 'drain-timeout', fallback: number) =>
    parseInteger(name, values[name], fallback, MAX_TIMER_MS);
  return {
    command: 'bridge',
    options: {
      url: target,
      tokenEnv: values['token-env'],
      tokenFile: values['token-file'],
      headers,
      ca: values.ca,
      cert: values.cert,
      key: values.key,
      pins: values.pin,
      noise: parseNoise(values, target),
      allowInsecure,
      connectTimeoutMs: timeout('connect-timeout', 30_000),
      waitTimeoutMs: timeout('wait-timeout', 30_000),
      drainTimeoutMs: timeout('drain-timeout', 5_000),
      maxWaiting: parseInteger('max-waiting', values['max-waiting'], 256, 1_000_000),
      maxMessageBytes: parseInteger('max-message-bytes', values['max-message-bytes'], 4_194_304, 1_073_741_824),
      verbose: values.verbose === true,
    },
  };
}

function parse(argv: readonly string[]) {
  try {
    return parseArgs({ args: [...argv], options: OPTIONS, allowPositionals: true });
  } catch (error) {
    // Its message could repeat what was meant to be secret; the option's name is all that is kept of it.
    const name = /'(--?[A-Za-z][\w-]*)/.exec((error as Error).message)?.[1] ?? 'an option';
    const unknown = (error as { code?: string }).code === 'ERR_PARSE_ARGS_UNKNOWN_OPTION';
    throw new UsageError(unknown ? `Unknown option ${name}` : `${name}: a value is missing, or there is one too many`);
  }
}

function parseKeygen(file: string | undefined, others: number): CommandLine {
  if (file === undefined) throw new UsageError('keygen: the file for the private key is missing');
  if (others > 0) throw new UsageError('keygen takes one file and no options');
  return { command: 'keygen', file };
}

function parseHeader(text: string): [name: string, variable: string] {
  const [, name, variable] = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]+)=([A-Za-z_]\w*)$/.exec(text) ?? [];
  if (name === undefined || variable === undefined) {
    throw new UsageError('--header: expected NAME=VARIABLE, the name of the environment variable that holds the value');
  }
  if (RESERVED_HEADER.test(name.toLowerCase())) throw new UsageError(`--header ${name}: is set by the bridge itself`);
  return [name.toLowerCase(), variable];
}

function parseUrl(text: string, allowInsecure: boolean): URL {
  const url = URL.parse(text);
  if (url === null || !/^(wss?|https?):$/.test(url.protocol))
    throw new UsageError('The URL must begin with ws://, wss://, http:// or https://');
  if (url.username !== '' || url.password !== '' || credentialParameter(url.searchParams) !== undefined) {
    throw new UsageError('The URL holds a credential: everybody on this machine can read it. Use --token-env or --token-file');
  }
  if (url.hash !== '') throw new UsageError('The URL must have no fragment');
  const plain = url.protocol === 'ws:' || url.protocol === 'http:';
  if (plain && !allowInsecure && !isLoopbackAddress(url.hostname.replace(/^\[|\]$/g, ''))) {
    const [scheme, secure] = url.protocol === 'ws:' ? ['ws', 'wss'] : ['http', 'https'];
    throw new UsageError(`${scheme}:// to ${url.hostname} is not encrypted: use ${secure}://, or say --allow-insecure`);
  }
  return url;
}

function parseInteger(name: string, text: string | undefined, fallback: number, max: number): number {
  if (text === undefined) return fallback;
  const value = /^\d{1,10}$/.test(text) ? Number(text) : Number.NaN;
  if (value >= 1 && value <= max) return value;
  throw new UsageError(`--${name}: expected an integer from 1 to ${max}`);
}
