import { spawn } from 'node:child_process';
import { SERVICE_NAMES, type ServiceName } from './definitions/index.ts';
import { startServices } from './services.ts';

const USAGE = `Usage: services [redis] [etcd] [postgres] [consul] [-- command args…]

Brings up the servers the tests need, on free loopback ports, with throw-away data. Default: all of them.
Without a command it prints their URLs as export lines and keeps them up until Ctrl-C; with one it runs
the command with the URLs in its environment and ends with the command's exit code.`;

async function main(argv: readonly string[]): Promise<number> {
  const separator = argv.indexOf('--');
  const words = separator === -1 ? argv : argv.slice(0, separator);
  const command = separator === -1 ? [] : argv.slice(separator + 1);
  if (words.includes('--help') || words.includes('-h')) {
    console.log(USAGE);
    return 0;
  }
  const unknown = words.find((word) => !(SERVICE_NAMES as readonly string[]).includes(word));
  if (unknown !== undefined || (separator !== -1 && command.length === 0)) {
    console.error(unknown === undefined ? 'A command is missing after --' : `There is no service '${unknown}'`);
    console.error(USAGE);
    return 2;
  }
  const names = words.length === 0 ? SERVICE_NAMES : (words as readonly ServiceName[]);
  const services = await startServices(names);
  try {
    return command.length === 0 ? await keepUp(services.env) : await run(command as [string, ...string[]], services.env);
  } finally {
    await services.stop();
  }
}

function keepUp(env: Readonly<Record<string, string>>): Promise<number> {
  for (const [variable, url] of Object.entries(env)) console.log(`export ${variable}=${url}`);
  console.error('Up. Ctrl-C ends them.');
  return new Promise((resolve) => {
    const alive = setInterval(() => {}, 60_000);
    const end = () => {
      clearInterval(alive);
      resolve(0);
    };
    process.once('SIGINT', end);
    process.once('SIGTERM', end);
  });
}

function run([program, ...args]: readonly [string, ...string[]], env: Readonly<Record<string, string>>): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: 'inherit', env: { ...process.env, ...env } });
    // The terminal sends Ctrl-C to the command too; wait for it instead of dying first.
    process.on('SIGINT', () => {});
    process.on('SIGTERM', () => child.kill('SIGTERM'));
    child.once('error', reject);
    child.once('exit', (code) => resolve(code ?? 1));
  });
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 1;
}
