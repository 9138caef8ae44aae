import { readFileSync } from 'node:fs';
import { createSecureContext, type TlsOptions as NodeTlsOptions, type Server } from 'node:tls';
import type { CancelTimer, Clock } from '../clock.js';
import { ConfigurationError } from '../errors.js';
import { type ClientCertificateOptions, clientCertificateTls } from './client-certificates.js';

/** Certificate and key of a listener's TLS, PEM: `cert` and `key`, or `certFile` and `keyFile`. */
export interface TlsOptions {
  /** The certificate, with those between it and the root. */
  readonly cert?: string | Buffer;
  readonly key?: string | Buffer;
  /** A file that holds the certificate. */
  readonly certFile?: string;
  readonly keyFile?: string;
  /** Milliseconds after which the files are looked at again, and used if they have changed. From 1000 to a day. Default: only `reloadTls` does. */
  readonly reloadIntervalMs?: number;
  /** Oldest TLS version accepted. Default: `TLSv1.2`. */
  readonly minVersion?: 'TLSv1.2' | 'TLSv1.3';
  /** Asks clients for a certificate. Default: they are not asked. */
  readonly clientCertificates?: ClientCertificateOptions;
}

const DAY_MS = 86_400_000;

/** The certificate of a listener, which can change while it listens. */
export class TlsCertificate {
  readonly #path: string;
  #options: TlsOptions;
  #current: NodeTlsOptions;
  readonly #reloadIntervalMs: number;

  /**
   * @param path - what the options are called in errors, such as `http.tls`.
   * @throws ConfigurationError for files that cannot be read, and a certificate and key that do not belong together.
   */
  constructor(path: string, options: TlsOptions) {
    this.#path = path;
    this.#options = options;
    const { reloadIntervalMs } = options;
    if (reloadIntervalMs !== undefined && options.certFile === undefined) {
      throw new ConfigurationError(`${path}.reloadIntervalMs`, 'has an effect only with certFile and keyFile');
    }
    if (reloadIntervalMs !== undefined && !(Number.isInteger(reloadIntervalMs) && reloadIntervalMs >= 1000 && reloadIntervalMs <= DAY_MS)) {
      throw new ConfigurationError(
        `${path}.reloadIntervalMs`,
        `expected an integer from 1000 to ${DAY_MS}, got ${String(reloadIntervalMs)}`,
      );
    }
    this.#reloadIntervalMs = reloadIntervalMs ?? 0;
    this.#current = load(path, options);
  }

  /** What Node's TLS server is made with. */
  get serverOptions(): NodeTlsOptions {
    return this.#current;
  }

  /**
   * Reads the files again, or takes other options than before.
   *
   * @throws ConfigurationError as the constructor does; what was in use stays in use.
   */
  reload(next: TlsOptions = this.#options): void {
    // Node settles when a server is made whether it asks for certificates, and without authorities trusts every public one.
    if (asks(next) !== asks(this.#options)) {
      throw new ConfigurationError(
        `${this.#path}.clientCertificates`,
        'cannot be added, left out or made optional while the server listens',
      );
    }
    this.#current = load(this.#path, next);
    this.#options = next;
  }

  /** New connections get the current certificate; those that are open go on with theirs. */
  apply(server: Server): void {
    server.setSecureContext(this.#current);
  }

  /** Looks at the files again and again. A pair that is no good is reported, and the one in use stays. */
  watch(server: Server, clock: Clock, onError: (error: Error) => void): CancelTimer {
    if (this.#reloadIntervalMs === 0) return () => {};
    let cancel: CancelTimer = () => {};
    const look = () => {
      try {
        const before = this.#current;
        this.reload();
        if (String(before.cert) !== String(this.#current.cert) || String(before.key) !== String(this.#current.key)) this.apply(server);
      } catch (error) {
        onError(error as Error);
      }
      cancel = clock.setTimeout(look, this.#reloadIntervalMs);
    };
    cancel = clock.setTimeout(look, this.#reloadIntervalMs);
    return () => cancel();
  }
}

/** What clients are asked for. */
function asks({ clientCertificates }: TlsOptions): 'nothing' | 'required' | 'optional' {
  if (clientCertificates === undefined) return 'nothing';
  return (clientCertificates.required ?? true) ? 'required' : 'optional';
}

function load(path: string, options: TlsOptions): NodeTlsOptions {
  const { minVersion = 'TLSv1.2', clientCertificates } = options;
  if (minVersion !== 'TLSv1.2' && minVersion !== 'TLSv1.3') {
    throw new ConfigurationError(`${path}.minVersion`, `expected 'TLSv1.2' or 'TLSv1.3', got '${String(minVersion)}'`);
  }
  const pair = { minVersion, cert: pem(path, options, 'cert'), key: pem(path, options, 'key') };
  try {
    createSecureContext(pair);
  } catch (error) {
    // OpenSSL names its routine and its reason, never the key.
    throw new ConfigurationError(path, `the certificate and key cannot be used: ${(error as Error).message}`);
  }
  return { ...pair, ...clientCertificateTls(`${path}.clientCertificates`, clientCertificates) };
}

function pem(path: string, options: TlsOptions, name: 'cert' | 'key'): string | Buffer {
  const value = options[name];
  const file = options[`${name}File`];
  if ((value === undefined) === (file === undefined)) {
    throw new ConfigurationError(`${path}.${name}`, `expected either '${name}' or '${name}File'`);
  }
  if (value !== undefined) return value;
  try {
    return readFileSync(file as string);
  } catch (error) {
    throw new ConfigurationError(`${path}.${name}File`, `cannot be read: ${(error as NodeJS.ErrnoException).code}`);
  }
}
