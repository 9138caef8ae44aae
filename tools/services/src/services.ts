import { DEFINITIONS, type ServiceName } from './definitions/index.ts';
import { findLauncher, type Machine, thisMachine } from './launcher.ts';
import { type ServerProcess, startServer } from './server-process.ts';

/** Servers that are up. */
export interface RunningServices {
  /** `MCP_BLOCKS_REDIS_URL`, `…_ETCD_URL`, `…_POSTGRES_URL` and `…_CONSUL_URL`, as far as they were asked for. */
  readonly env: Readonly<Record<string, string>>;
  /** Stops what was started here and removes its data. Idempotent. */
  stop(): Promise<void>;
}

/**
 * Brings up the named servers on free loopback ports with throw-away data.
 *
 * A server whose URL is given in the environment is used as it is and not started.
 * @throws Error naming what to install when there is no way to run one.
 */
export async function startServices(
  names: readonly ServiceName[],
  given: Readonly<Record<string, string | undefined>> = process.env,
  machine: Machine = thisMachine,
): Promise<RunningServices> {
  const env: Record<string, string> = {};
  const started: ServerProcess[] = [];
  const stop = async () => {
    await Promise.all(started.map((server) => server.stop()));
  };
  const missing = [...new Set(names)].map((name) => DEFINITIONS[name]).filter(({ variable }) => !given[variable]);
  for (const name of names) {
    const { variable } = DEFINITIONS[name];
    const url = given[variable];
    if (url) env[variable] = url;
  }
  // All launchers before the first start, so that a missing server fails at once; installs must not run in parallel.
  const launchers = missing.map((definition) => ({ definition, launcher: findLauncher(definition, machine) }));
  const outcomes = await Promise.allSettled(
    launchers.map(async ({ definition, launcher }) => {
      const server = await startServer(definition, launcher);
      started.push(server);
      env[definition.variable] = server.url;
    }),
  );
  const failed = outcomes.find((outcome) => outcome.status === 'rejected');
  if (failed !== undefined) {
    await stop();
    throw failed.reason as Error;
  }
  return { env, stop };
}
