import { type Clock, ConfigurationError, canonicalJson, type JsonValue } from '@mcp-blocks/core';
import { type ConfigFile, readConfigFile } from './config/config-file.js';
import { ConfigFileError } from './config/problems.js';
import { DeployedGateway } from './deployed-gateway.js';
import { FileChanges } from './file-changes.js';
import { errorText, type Log } from './log.js';

/** What {@link GatewayRun} works with. */
export interface GatewayRunOptions {
  readonly config: string;
  readonly env: NodeJS.ProcessEnv;
  /** Whether the file is followed. */
  readonly watch: boolean;
  readonly log: Log;
  readonly clock: Clock;
}

/** Between two looks at the files of the configuration. */
const LOOK_INTERVAL_MS = 1_000;

/** A gateway that follows its configuration file. */
export class GatewayRun {
  readonly #options: GatewayRunOptions;
  readonly #gateway: DeployedGateway;
  readonly #changes: FileChanges;
  #config: ConfigFile;
  #reloading: Promise<void> = Promise.resolve();
  #ended = false;

  private constructor(options: GatewayRunOptions, config: ConfigFile, gateway: DeployedGateway) {
    this.#options = options;
    this.#config = config;
    this.#gateway = gateway;
    this.#changes = new FileChanges({ intervalMs: LOOK_INTERVAL_MS, clock: options.clock, onChange: () => this.reload('changed') });
  }

  /** Starts a gateway. @throws ConfigFileError or ConfigurationError when it cannot be made, what listening throws. */
  static async start(options: GatewayRunOptions): Promise<GatewayRun> {
    const { log, clock } = options;
    const config = readConfigFile(options.config, options.env);
    log.redact = config.redact;
    const gateway = await DeployedGateway.make({ file: config.file, log, clock });
    try {
      await gateway.start();
    } catch (error) {
      await gateway.close();
      throw error;
    }
    const run = new GatewayRun(options, config, gateway);
    log.listening(gateway.endpoints, gateway.services);
    if (options.watch) run.#changes.follow(config.paths);
    return run;
  }

  /** Finds out what is wrong with a configuration. @throws ConfigFileError or ConfigurationError */
  static async check({ config, env, log, clock }: Omit<GatewayRunOptions, 'watch'>): Promise<void> {
    const { file, redact } = readConfigFile(config, env);
    log.redact = redact;
    await DeployedGateway.check({ file, log, clock });
  }

  /** Reads the file again, after whatever is being applied. Never rejects: the old configuration stays in force. */
  reload(why: 'changed' | 'told'): Promise<void> {
    this.#reloading = this.#reloading.then(() => this.#reload(why));
    return this.#reloading;
  }

  /** Lets calls in progress end, then ends everything. */
  async end(): Promise<void> {
    this.#ended = true;
    this.#changes.close();
    await Promise.all([this.#gateway.drain(), this.#reloading]);
  }

  async #reload(why: 'changed' | 'told'): Promise<void> {
    if (this.#ended) return;
    const { log, config: path, env, watch } = this.#options;
    const before = this.#config;
    try {
      const config = readConfigFile(path, env);
      const redactBefore = before.redact;
      if (why === 'told') this.#gateway.reloadTls();
      if (canonicalJson(config.file as JsonValue) === canonicalJson(before.file as JsonValue)) {
        if (why === 'told') log.info('the configuration has not changed');
      } else {
        // Calls of the old configuration may still be in progress.
        log.redact = (text) => config.redact(redactBefore(text));
        const { ignored, added, removed, changed } = await this.#gateway.reload(config.file);
        this.#config = config;
        log.info('a new configuration is in force', { added: [...added], removed: [...removed], changed: [...changed] });
        if (ignored.length > 0) {
          log.warn('some changes need a restart: until then the old values stay in force', { options: [...ignored] });
        }
      }
      if (watch) this.#changes.follow(config.paths);
    } catch (error) {
      if (this.#ended) return;
      const problems = problemsOf(error);
      log.error('a new configuration is refused: the old one stays in force', { problems: problems ?? [errorText(error)] });
    }
  }
}

/** What is wrong with a configuration, one text each; `undefined` where the error is another. */
export function problemsOf(error: unknown): string[] | undefined {
  if (error instanceof ConfigFileError) return error.message.split('\n');
  return error instanceof ConfigurationError ? [error.message] : undefined;
}
