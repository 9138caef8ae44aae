import { parseArgs } from 'node:util';
import { invitation } from './demo/invitation.js';
import { Narrator } from './demo/narrator.js';
import { runScript } from './demo/script.js';
import { startStack } from './stack.js';

const USAGE = `Usage: npm run demo -- [--once] [--json] [--port N]
  --once     run the script and end; exit code 0 only if every step held
  --json     run no script: print one line {"endpoints":…,"tokens":…} when ready and stay up
  --port N   port of the gateway on 127.0.0.1 (default 8080, 0 = any free one)
Environment: WEATHER_API_URL  base URL of an Open-Meteo API (default https://api.open-meteo.com)`;

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: { once: { type: 'boolean' }, json: { type: 'boolean' }, port: { type: 'string', default: '8080' }, help: { type: 'boolean' } },
  });
  if (values.help) return console.log(USAGE);
  const port = Number(values.port);
  if (!Number.isInteger(port) || port < 0 || port > 65_535)
    throw new Error(`--port: expected 0 to 65535, got '${values.port}'\n\n${USAGE}`);

  const narrator = new Narrator();
  const starting = startStack({ port, weatherApiUrl: process.env.WEATHER_API_URL ?? 'https://api.open-meteo.com' });

  let done = false;
  let interrupted = false;
  let ending: Promise<void> | undefined;
  // A start that fails cleans up after itself.
  const end = () => {
    ending ??= starting.then(
      (stack) => stack.stop(),
      () => {},
    );
    return ending;
  };
  for (const [signal, code] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)
    process.on(signal, () => {
      interrupted = true;
      void end().then(() => process.exit(done ? undefined : code));
    });

  try {
    if (!values.json) narrator.title('MCP Blocks quickstart: three services, each run twice, behind one secured gateway');
    const stack = await starting;
    if (values.json) {
      console.log(JSON.stringify({ endpoints: stack.endpoints, tokens: stack.tokens }));
      done = true;
      return;
    }
    narrator.say(`HTTP ${stack.endpoints.http}   WebSocket ${stack.endpoints.ws}   ${stack.nodes.length} nodes`);
    await runScript(stack, narrator);
    narrator.blank();
    narrator.title(narrator.failures === 0 ? 'Every step held.' : `${narrator.failures} steps did not hold.`);
    if (narrator.failures > 0) process.exitCode = 1;
    done = true;
    if (values.once) await end();
    else console.log(`\n${invitation(stack)}`);
  } catch (error) {
    await end();
    if (!interrupted) throw error;
  }
}

main().catch((error: unknown) => {
  const known = error as { code?: string; message?: string };
  console.error(
    known.code === 'EADDRINUSE' ? 'The port is taken: choose another with --port N (0 = any free one).' : (known.message ?? error),
  );
  process.exitCode = 1;
});
