import { DEFINITIONS, type ServiceName } from './definitions/index.ts';
import { findLauncher } from './launcher.ts';
import { findProgram, PROGRAM_NAMES } from './programs.ts';
import { startServices } from './services.ts';

/** What most runs need; Consul, which few tests use, is started by them. */
const SHARED: readonly ServiceName[] = ['redis', 'etcd', 'postgres'];

/** Vitest global setup: real servers for the whole run, their URLs in the environment the workers inherit. */
export default async function setup(): Promise<() => Promise<void>> {
  // Here and not in the tests, which run in parallel: two installs at a time would disturb each other.
  const searches = [() => findLauncher(DEFINITIONS.consul), ...PROGRAM_NAMES.map((name) => () => findProgram(name))];
  for (const search of searches) {
    try {
      search();
    } catch (error) {
      // The tests that need it will say the same and fail; the others run.
      console.error((error as Error).message);
    }
  }
  const services = await startServices(SHARED);
  Object.assign(process.env, services.env);
  return () => services.stop();
}
