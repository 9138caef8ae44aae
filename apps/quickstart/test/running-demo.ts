import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

/** The built demo: `npm test` builds before it tests. */
export const MAIN = fileURLToPath(new URL('../dist/main.js', import.meta.url));

export interface Ready {
  readonly endpoints: { readonly http: string; readonly ws: string };
  readonly tokens: { readonly viewer: string; readonly analyst: string; readonly admin: string };
}

/** Starts the demo, with more in its environment, and collects what it prints. */
export function start(
  env: Readonly<Record<string, string>>,
  ...args: string[]
): { child: ChildProcess; output: () => string; exit: Promise<number | null> } {
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', MAIN, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    // No test asks the internet for the weather.
    env: { ...process.env, WEATHER_API_URL: 'http://127.0.0.1:9', ...env },
  });
  let text = '';
  child.stdout?.on('data', (chunk: Buffer) => (text += chunk.toString()));
  child.stderr?.on('data', (chunk: Buffer) => (text += chunk.toString()));
  return { child, output: () => text, exit: once(child, 'exit').then(([code]) => code as number | null) };
}

/** Starts the demo with `--json` and waits for its line. */
export async function startReady(): Promise<Ready & { stop(): Promise<number | null> }> {
  const { child, exit, output } = start({}, '--json', '--port', '0');
  const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream });
  const [line] = (await Promise.race([
    once(lines, 'line'),
    exit.then((code) => {
      throw new Error(`The demo ended with ${code}: ${output()}`);
    }),
  ])) as [string];
  return {
    ...(JSON.parse(line) as Ready),
    stop() {
      child.kill('SIGTERM');
      return exit;
    },
  };
}
