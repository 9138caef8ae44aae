import { parseArgs } from 'node:util';
import { explainMissing } from './known-gaps.ts';
import { type ServerUnderTest, startGateway, startServer } from './servers.ts';
import { type Revision, runSuite } from './suite.ts';

interface Target {
  readonly name: string;
  readonly revision: Revision;
  readonly start: () => Promise<ServerUnderTest>;
}

const TARGETS: readonly Target[] = [
  { name: 'server', revision: '2026-07-28', start: startServer },
  { name: 'server', revision: '2025-11-25', start: startServer },
  { name: 'gateway', revision: '2026-07-28', start: startGateway },
  { name: 'gateway', revision: '2025-11-25', start: startGateway },
];

const { values } = parseArgs({ options: { verbose: { type: 'boolean' }, only: { type: 'string' } } });

const summaries: string[] = [];
for (const { name, revision, start } of TARGETS) {
  if (values.only !== undefined && values.only !== name) continue;
  const server = await start();
  try {
    const { required, missing, output } = await runSuite(server.url, revision);
    if (values.verbose) console.log(output);
    const { explained, unexplained, outdated } = explainMissing(`${name} ${revision}`, missing);
    for (const [scenario, why] of explained) console.log(`  ${name} ${revision} lacks ${scenario}: ${why}`);
    for (const scenario of unexplained) console.error(`  ${name} ${revision} fails ${scenario}: not explained in known-gaps.json`);
    for (const scenario of outdated) console.error(`  ${name} ${revision} passes ${scenario}: take it out of known-gaps.json`);
    if (unexplained.length + outdated.length > 0) {
      process.exitCode = 1;
      if (!values.verbose) console.error(`  npm run conformance -- --only ${name} --verbose shows what the suite says`);
    }
    summaries.push(`conformance ${name} ${revision}: ${required.length - missing.length}/${required.length}`);
  } finally {
    await server.stop();
  }
}
for (const summary of summaries) console.log(summary);
