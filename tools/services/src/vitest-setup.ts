import { SERVICE_NAMES } from './definitions.ts';
import { startServices } from './services.ts';

/** Vitest global setup: real servers for the whole run, their URLs in the environment the workers inherit. */
export default async function setup(): Promise<() => Promise<void>> {
  const services = await startServices(SERVICE_NAMES);
  Object.assign(process.env, services.env);
  return () => services.stop();
}
