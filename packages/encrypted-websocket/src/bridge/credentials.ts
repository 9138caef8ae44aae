import { readFile } from 'node:fs/promises';
import { RpcError } from '@mcp-blocks/core';
import type { NoiseClientOptions } from '../noise/noise-endpoint.js';
import type { BridgeArguments } from './command-line.js';
import type { BridgeTls } from './http-channel.js';
import { loadNoise } from './noise-options.js';
import { UsageError } from './usage-error.js';

/** What the bridge presents to the server, as {@link BridgeArguments} name it. */
export interface Credentials {
  /** The bearer token, read anew each time, so that a renewed file takes effect. @throws RpcError `unauthenticated` */
  readonly token: (() => Promise<string>) | undefined;
  readonly headers: Readonly<Record<string, string>>;
  readonly tls: BridgeTls;
  readonly noise: NoiseClientOptions | undefined;
  /** `text` without any of the secrets read so far. */
  redact(text: string): string;
}

/** What a header can carry. */
const HEADER_VALUE = /^[\x21-\x7e](?:[\t\x20-\x7e]*[\x21-\x7e])?$/;

/** @throws UsageError or ConfigurationError naming the variable or file that is missing or does not hold what it should. */
export async function loadCredentials(options: BridgeArguments, env: NodeJS.ProcessEnv): Promise<Credentials> {
  const secrets = new Set<string>();
  const fromEnv = (option: string, name: string): string => {
    const value = env[name]?.trim() ?? '';
    if (!HEADER_VALUE.test(value))
      throw new UsageError(`${option}: the environment variable is not set, or holds what no header can carry`);
    secrets.add(value);
    return value;
  };
  const pem = async (option: string, path: string | undefined) => {
    if (path === undefined) return undefined;
    return await readFile(path).catch((error: NodeJS.ErrnoException) => {
      throw new UsageError(`${option}: the file cannot be read (${error.code})`);
    });
  };
  const headers = Object.fromEntries([...options.headers].map(([name, variable]) => [name, fromEnv(`--header ${name}`, variable)]));
  const token = tokenSource(options, fromEnv, secrets);
  if (options.tokenFile !== undefined) {
    await token?.().catch((error: Error) => {
      throw new UsageError(error.message);
    });
  }
  const [ca, cert, key] = await Promise.all([pem('--ca', options.ca), pem('--cert', options.cert), pem('--key', options.key)]);
  return {
    token,
    headers,
    tls: {
      ...(options.pins === undefined ? {} : { pins: options.pins }),
      ...(ca === undefined ? {} : { ca }),
      ...(cert === undefined ? {} : { cert }),
      ...(key === undefined ? {} : { key }),
    },
    noise: options.noise && (await loadNoise(options.noise, (key) => secrets.add(key))),
    redact: (text) => [...secrets].reduce((redacted, secret) => redacted.replaceAll(secret, '***'), text),
  };
}

function tokenSource(
  { tokenEnv, tokenFile }: BridgeArguments,
  fromEnv: (option: string, name: string) => string,
  secrets: Set<string>,
): (() => Promise<string>) | undefined {
  if (tokenEnv !== undefined) {
    const value = fromEnv('--token-env', tokenEnv);
    return async () => value;
  }
  if (tokenFile === undefined) return undefined;
  return async () => {
    const text = await readFile(tokenFile, 'utf8').catch((error: NodeJS.ErrnoException) => {
      throw new RpcError('unauthenticated', `--token-file: the file cannot be read (${error.code})`);
    });
    const value = text.trim();
    if (!/^[\x21-\x7e]+$/.test(value)) throw new RpcError('unauthenticated', '--token-file: the file does not hold a token');
    secrets.add(value);
    return value;
  };
}
